"""Finds the first pass after which a graph computes something else: the interpreter judges after each.

Both sides run in float64 on the same random numbers, so that what differs is a different formula and not rounding. The
judge is the graph that came in, or, where that asks for gradients, which no interpreter knows, the graph after the pass
that expands them: a mistake in that pass or before it is not found this way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from compiler.instruments.instrument import Instrument
from compiler.interpret import interpret
from compiler.ir import Array, Graph
from compiler.passes.context import PassContext
from compiler.passes.differentiate import Gradient
from compiler.types import is_float

__all__ = ["TOLERANCE", "Deviation", "Results", "WrongResultsError", "first_deviation"]

TOLERANCE = 1e-5  # of the largest number in a result: constants may have been folded in float32


@dataclasses.dataclass(frozen=True, slots=True)
class Deviation:
    """Where two results part most."""

    result: str
    text: str

    def __str__(self) -> str:
        return f"{self.result} {self.text}"


class WrongResultsError(Exception):
    """After a pass, the graph computes something else."""


class Results(Instrument):
    """Interprets the graph after each pass that changed it; `arrays` are its inputs, then its variables.

    Raises `WrongResultsError` after the first pass whose results leave those of the graph before all passes.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.arrays = [array.astype("float64") if is_float(array.dtype.name) else array for array in arrays]
        self.expected: dict[str, Array] | None = None
        self.judged = 0
        self.wrong: tuple[str, Graph, Graph] | None = None  # the pass that changed the results, and its graphs

    def before(self, name: str, graph: Graph, context: PassContext) -> None:
        """Keep what the first graph that can be interpreted gives."""
        if self.expected is None and not asks_for_gradients(graph):
            self.expected = results_of(graph, self.arrays)

    def after(self, name: str, before: Graph, after: Graph, context: PassContext, seconds: float) -> None:
        """Compare."""
        if self.expected is None or after is before:
            return
        self.judged += 1
        deviation = first_deviation(self.expected, results_of(after, self.arrays))
        if deviation is not None:
            self.wrong = (name, before, after)
            raise WrongResultsError(str(deviation))


def asks_for_gradients(graph: Graph) -> bool:
    """Whether a graph holds the op that only a pass can expand."""
    return any(isinstance(node.op, Gradient) for node in graph.nodes)


def results_of(graph: Graph, arrays: Sequence[Array]) -> dict[str, Array]:
    """What a graph gives, by what and name."""
    count = len(graph.inputs)
    outputs, updates = interpret(graph, arrays[:count], arrays[count:])
    named = {f"output '{name}'": array for (name, _), array in zip(graph.outputs, outputs, strict=True)}
    return named | {f"update of '{name}'": array for name, array in updates.items()}


def first_deviation(
    expected: Mapping[str, Array], found: Mapping[str, Array], noise: Mapping[str, Array] | None = None
) -> Deviation | None:
    """The first result that differs by more than `TOLERANCE` of its largest number and `noise`; NaN equals NaN."""
    for name, wanted in expected.items():
        if name not in found:
            return Deviation(name, "is missing")
        got = found[name]
        if got.shape != wanted.shape:
            return Deviation(name, f"has shape {got.shape}, the interpreter's has {wanted.shape}")
        wide = wanted.astype("float64")
        with np.errstate(all="ignore"):
            distance = np.asarray(np.abs(got.astype("float64") - wide))
        distance[(got == wanted) | (np.isnan(wide) & np.isnan(got.astype("float64")))] = 0.0
        finite = np.abs(wide[np.isfinite(wide)])
        allowed = TOLERANCE * float(finite.max(initial=0.0)) + (0.0 if noise is None else noise[name])
        wrong = ~(distance <= allowed)
        if wrong.any():
            at = np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(distance, nan=np.inf), -1.0)), wide.shape)
            place = f"[{', '.join(str(int(index)) for index in at)}]"
            return Deviation(
                name,
                f"is {got[at]:.6g} at {place} where the interpreter's is {wanted[at]:.6g}; "
                f"{int(wrong.sum())} of {wide.size} numbers differ",
            )
    return None
