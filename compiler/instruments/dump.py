"""A folder with everything that one compilation did, to be read or attached: `GRAPHCORE_DUMP=folder`.

Each compilation writes a folder of its own, numbered in order. It holds no weights: those are variables, which a graph
names but does not hold, and constants above 64 elements are named by their hash.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from pathlib import Path

import numpy as np

from compiler.instruments.instrument import Failure
from compiler.instruments.logs import memory_table, memory_text
from compiler.instruments.records import Records
from compiler.ir import Graph
from compiler.passes.context import PassContext
from compiler.text import to_text
from compiler.version import source_version
from runtime.program import Program

__all__ = ["Dump", "next_folder"]

README = """\
What graphcore did when it compiled the graph '{name}'.

00_traced.gcir    the graph that came in
NN_<pass>.gcir    the graph after the NN-th pass; a pass that changed nothing has no file
passes.txt        time and nodes of every pass; passes.json holds the same as data
remarks.txt       why edges between kernels stayed in memory, and what else the passes had to say
memory.txt        the memory plan
kernels/          the generated source of each kernel, in the order in which they were made
environment.json  versions, machine and options
failure.txt       only if a pass failed: which, and its error
repro.gcir        likewise: the graph that it got, and the passes left to run; run it with: graphcore opt repro.gcir

Left out: weights and all other variables (they are no part of a graph), and the numbers of constants above 64
elements, which are named by their SHA-256. Still in it: names of layers and variables, small constants, and the names
and lines of your own source files (#"train.py:12"). Read it before you attach it anywhere.
"""


class Dump(Records):
    """Writes into `folder` while the passes run."""

    def __init__(self, folder: Path, graph: Graph, context: PassContext) -> None:
        super().__init__()
        self.folder = folder
        self.number = 0
        self._write("README.txt", README.format(name=graph.name))
        self._write("00_traced.gcir", to_text(graph))
        self._write("environment.json", json.dumps(_environment(context), indent=2) + "\n")

    def after(self, name: str, before: Graph, after: Graph, context: PassContext, seconds: float) -> None:
        """Write the graph if it changed, and bring the tables up to date: a later pass may fail."""
        super().after(name, before, after, context, seconds)
        self.number += 1
        record = self.records[-1]
        if record.changed:
            self._write(f"{self.number:02}_{name}.gcir", to_text(after))
        self._write("passes.txt", self.table)
        if record.remarks:
            self._write("remarks.txt", "".join(f"{remark}\n" for remark in context.remarks))
        if name == "plan_memory":
            self._write("memory.txt", memory_text(context) + "\n" + memory_table(context))

    def failed(self, failure: Failure) -> None:
        """Note the failure; `Reproducer` writes the file to run it again."""
        try:
            self._write("failure.txt", f"{failure.name}: {type(failure.error).__name__}: {failure.error}\n")
            self._write_records()
        except OSError as error:
            failure.error.add_note(f"the bundle in {self.folder} is not complete: {error}")

    def assembled(self, program: Program) -> None:
        """Write the kernels."""
        self._write_records()
        (self.folder / "kernels").mkdir()
        for number, kernel in enumerate(program.kernels):
            self._write(f"kernels/{number:03}_{plain(kernel.name)}.py", f"# {kernel.name}\n{kernel.source}")

    def _write_records(self) -> None:
        rows = [
            {name: getattr(record, name) for name in type(record).__dataclass_fields__} for record in self.records
        ]
        self._write("passes.json", json.dumps(rows, indent=1) + "\n")

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")


def next_folder(parent: Path, name: str) -> Path:
    """A new folder in `parent`, numbered after those that are there; other processes may make theirs meanwhile."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1 + max([int(found.name[:4]) for found in parent.glob("[0-9][0-9][0-9][0-9]_*")], default=0)
    while True:
        folder = parent / f"{number:04}_{plain(name)}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        return folder


def plain(name: str) -> str:
    """A name with nothing in it that a file's name should not have."""
    return re.sub(r"[^\w.+-]+", "_", name, flags=re.ASCII).strip("._")[:60] or "graph"


def _environment(context: PassContext) -> dict[str, object]:
    loaded = ("numba", "llvmlite")
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        **{name: sys.modules[name].__version__ for name in loaded if name in sys.modules},
        "compiler": source_version("compiler", "runtime"),
        "system": platform.platform(),
        "target": str(context.target),
        "features": context.target.features,
        "bindings": {name: str(dim) for name, dim in context.bindings.items()},
        "winograd": context.winograd,
    }
