"""What every instrument is: something that is asked before a pass and told after it, after MLIR's and TVM's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from compiler.verify import verify

if TYPE_CHECKING:
    from compiler.ir import Graph, Node
    from compiler.passes.context import PassContext
    from runtime.program import Program

__all__ = ["Failure", "Instrument", "Verification"]


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """A pass that raised, or after which an instrument did."""

    name: str
    graph: Graph  # what the pass was given
    context: PassContext
    rest: tuple[str, ...]  # the names of the passes from this one to the end
    error: Exception


class Instrument:
    """Looks on while passes run, and may keep one from running. Every method does nothing unless it is overridden.

    Several instruments are called in the order in which they are given. One that raises in `before` or `after` stops
    the pipeline, and what it raised counts as the pass's failure.
    """

    def should_run(self, name: str, graph: Graph, context: PassContext) -> bool:
        """Whether the pass may run on `graph`; it is left out if any instrument says no."""
        return True

    def before(self, name: str, graph: Graph, context: PassContext) -> None:
        """The pass is about to run."""

    def after(self, name: str, before: Graph, after: Graph, context: PassContext, seconds: float) -> None:
        """The pass has run for `seconds`; `after` is the same object as `before` where it changed nothing."""

    def assembled(self, program: Program) -> None:
        """The passes are through, and their graph has become a program: `compile_graph` calls this."""

    def failed(self, failure: Failure) -> None:
        """The pass failed; afterwards the error goes on to the caller, who sees the notes added to it here."""


class Verification(Instrument):
    """Checks the graph after each pass that changed it; see `compiler.verify`. Part of every pipeline."""

    def __init__(self) -> None:
        self.checked: set[Node] = set()

    def after(self, name: str, before: Graph, after: Graph, context: PassContext, seconds: float) -> None:
        """Verify what is new."""
        if after is not before:
            verify(after, self.checked)
