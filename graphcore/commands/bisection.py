"""The end of `graphcore opt --bisect`: which pass changed the results, or else whether the compiled program does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.instruments import Instrument
from compiler.instruments.results import Results, first_deviation, results_of
from compiler.ir import Graph
from compiler.passes.context import PassContext

__all__ = ["judge_program", "show_wrong"]


def show_wrong(results: Results, error: Exception) -> None:
    """Name the pass, what differs, and what the pass did."""
    from compiler.inspect.difference import difference
    from graphcore.commands.highlighting import show

    assert results.wrong is not None
    name, before, after = results.wrong
    print(f"the first pass after which the results leave the interpreter's: {name}")
    print(f"{error}\nwhat the pass did:")
    show(str(difference(before, after)), "diff")


def judge_program(
    graph: Graph, result: Graph, context: PassContext, arrays: Sequence[Any], instruments: Sequence[Instrument]
) -> int:
    """Say that the passes kept the results, then run the program of their graph, if its memory is planned, and compare
    its results: the exit code."""
    (results,) = (instrument for instrument in instruments if isinstance(instrument, Results))
    if results.expected is None:
        print("nothing was compared: the graph asks for gradients, and no pass expanded them")
        return 1
    print(f"the results stay the interpreter's after all passes; {results.judged} changed the graph")
    if context.memory is None:
        return 0
    deviation = first_deviation(results.expected, _run(graph, result, context, arrays), _noise(results, result, arrays))
    if deviation is not None:
        print(f"the compiled program leaves them: {deviation}")
        return 1
    print("the results of the compiled program are the interpreter's")
    return 0


def _run(graph: Graph, result: Graph, context: PassContext, arrays: Sequence[Any]) -> dict[str, Any]:
    from compiler.assembly import assemble
    from runtime.executor import Executable

    count = len(graph.inputs)
    variables = [array.copy() for array in arrays[count:]]
    outputs = Executable(assemble(result, context)).run([array.copy() for array in arrays[:count]], variables)
    found = {f"output '{name}'": array for (name, _), array in zip(graph.outputs, outputs, strict=True)}
    new = dict(zip((entry.name for entry in graph.variables), variables, strict=True))
    return found | {f"update of '{name}'": new[name] for name, _ in graph.updates}


def _noise(results: Results, result: Graph, arrays: Sequence[Any]) -> dict[str, Any]:
    """What plain evaluation in the graph's own precision is off by, a few times over."""
    assert results.expected is not None
    single = results_of(result, arrays)
    with np.errstate(all="ignore"):
        return {
            name: np.nan_to_num(4 * np.abs(single[name].astype("float64") - exact.astype("float64")), posinf=0.0)
            for name, exact in results.expected.items()
        }
