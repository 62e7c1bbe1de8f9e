"""The instruments that environment variables ask for."""

from __future__ import annotations

import os
from pathlib import Path

from compiler.instruments.instrument import Instrument
from compiler.instruments.reproducer import Reproducer
from compiler.ir import Graph
from compiler.passes.context import PassContext
from runtime.logs import logged_topics

__all__ = ["DUMP_VARIABLE", "environment_instruments"]

DUMP_VARIABLE = "GRAPHCORE_DUMP"


def environment_instruments(graph: Graph, context: PassContext) -> tuple[Instrument, ...]:
    """Those for compiling one graph: the log, the bundle, and the file that a failing pass leaves, which goes into
    the bundle or, without one, into a new temporary folder."""
    parent = os.environ.get(DUMP_VARIABLE)
    logs: tuple[Instrument, ...] = ()
    if logged_topics():
        from compiler.instruments.logs import Logs  # here, like the next one: hardly any compilation is watched

        logs = (Logs(),)
    if not parent:
        return (*logs, Reproducer(None))
    from compiler.instruments.dump import Dump, next_folder

    folder = next_folder(Path(parent), graph.name)
    return (*logs, Dump(folder, graph, context), Reproducer(folder / "repro.gcir"))
