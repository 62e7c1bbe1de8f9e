"""More checks than those of every pipeline: what a pass must not touch, and that its graph can be written down."""

from __future__ import annotations

from compiler.instruments.instrument import Instrument
from compiler.ir import Graph
from compiler.passes.context import PassContext
from compiler.text import large_constants, parse, to_text
from compiler.verify import VerifyError

__all__ = ["StrictVerification"]


class StrictVerification(Instrument):
    """Checks after each pass that the graph still takes and gives the same names in the same order, that a pass that
    found something to do did not merely make an equal graph, and that the graph reads back from its text in both forms.

    Raises `VerifyError`, which then counts as the pass's failure.
    """

    def after(self, name: str, before: Graph, after: Graph, context: PassContext, seconds: float) -> None:
        """Check the graph if it is a new one."""
        if after is before:
            return
        old, new = _signature(before), _signature(after)
        for what, names in old.items():
            if names != new[what]:
                raise VerifyError(f"'{name}' changed the {what} from {', '.join(names)} to {', '.join(new[what])}")
        if after == before:
            raise VerifyError(f"'{name}' changed nothing but returned another graph; it must return the one it got")
        constants = large_constants(after)
        for pretty in (False, True):
            if parse(to_text(after, pretty=pretty), constants) != after:
                raise VerifyError(f"the graph that '{name}' made does not read back from its text")


def _signature(graph: Graph) -> dict[str, list[str]]:
    return {
        "inputs": [entry.name for entry in graph.inputs],
        "variables": [entry.name for entry in graph.variables],
        "outputs": [name for name, _ in graph.outputs],
        "updates": sorted(name for name, _ in graph.updates),
    }
