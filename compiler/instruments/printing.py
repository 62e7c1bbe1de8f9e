"""Prints the graph after passes, as MLIR's tools do: after all, after some, after those that changed it, as a diff."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

from compiler.inspect.difference import difference
from compiler.instruments.instrument import Failure, Instrument
from compiler.ir import Graph
from compiler.passes.context import PassContext
from compiler.text import to_text

__all__ = ["Printing"]


class Printing(Instrument):
    """Hands headed text to `write` after each pass in `names` (None: each).

    `what`: "all" shows every graph, "changed" leaves out those that the pass did not change, "diff" shows only what
    it added, removed and changed (`compiler.inspect.difference`). `render` makes a graph's text.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        what: Literal["all", "changed", "diff"] = "all",
        names: Collection[str] | None = None,
        render: Callable[[Graph], str] = to_text,
    ) -> None:
        self.write, self.what, self.names, self.render = write, what, names, render

    def after(self, name: str, before: Graph, after: Graph, context: PassContext, seconds: float) -> None:
        """Print the graph, or that it is unchanged."""
        if self.names is not None and name not in self.names:
            return
        if after is before:
            if self.what == "all":
                self.write(f"// ---- {name}: unchanged ----\n")
            return
        text = str(difference(before, after)) if self.what == "diff" else self.render(after)
        self.write(f"// ---- {name}: changed ----\n{text}")

    def failed(self, failure: Failure) -> None:
        """Print the graph that the pass failed on."""
        self.write(f"// ---- {failure.name}: failed, on this graph ----\n{self.render(failure.graph)}")
