"""The passes in the log: `GRAPHCORE_LOGS=passes,fusion,memory`."""

from __future__ import annotations

from compiler.instruments.instrument import Failure
from compiler.instruments.records import Records
from compiler.ir import Graph
from compiler.passes.context import PassContext
from runtime.dimensions import symbols_of
from runtime.logs import is_logged, log

__all__ = ["Logs", "memory_table", "memory_text"]


class Logs(Records):
    """Writes a line for each pass, for each edge that was not fused and why, and for the memory plan."""

    def after(self, name: str, before: Graph, after: Graph, context: PassContext, seconds: float) -> None:
        """Log the pass, and what it left in the context."""
        super().after(name, before, after, context, seconds)
        record = self.records[-1]
        log("passes", f"{after.name}: {record.summary}")
        if is_logged("fusion"):
            for remark in context.remarks[len(context.remarks) - record.remarks :]:
                log("fusion", f"{after.name}: {remark}")
        if name == "plan_memory" and is_logged("memory"):
            log("memory", f"{after.name}: {memory_text(context)}")

    def failed(self, failure: Failure) -> None:
        """Log the failure."""
        log("passes", f"{failure.graph.name}: {failure.name} failed: {type(failure.error).__name__}: {failure.error}")


def memory_text(context: PassContext) -> str:
    """The memory plan in a line: blocks, the arena at typical sizes, and what no plan could be below."""
    plan = context.memory
    if plan is None:
        return "no plan"
    place = plan.typical
    symbols = sorted(frozenset[str]().union(*(symbols_of(size) for size in plan.sizes)))
    sizes = f" with {', '.join(symbols)} at a typical size" if symbols else ""
    return (
        f"{len(plan.slots)} values in {len(plan.sizes)} blocks, {len(plan.direct)} written where they belong; "
        f"arena {place.size} bytes, bound {place.bound}{sizes}; {plan.prepared_bytes} made once and kept"
    )


def memory_table(context: PassContext) -> str:
    """A line for each value in the arena: the kernels during which it is kept, its block, size and type."""
    lines = []
    for slot in context.memory.slots if context.memory is not None else ():
        reuse = "" if slot.reuses is None else "  in the memory of an operand"
        place = f"kernels {slot.first}..{slot.last}  block {slot.block}  {slot.size} bytes"
        lines.append(f"{place}  {slot.value.type}{reuse}\n")
    return "".join(lines)
