"""How long each pass took, and what it did to the number of nodes."""

from __future__ import annotations

import dataclasses
from collections import Counter

from compiler.instruments.instrument import Instrument
from compiler.ir import Graph
from compiler.passes.context import PassContext

__all__ = ["PassRecord", "Records", "operation_counts"]


@dataclasses.dataclass(frozen=True, slots=True)
class PassRecord:
    """One run of one pass."""

    name: str
    seconds: float
    changed: bool
    nodes_before: int
    nodes_after: int  # of the graph itself: a kernel or a loop is one
    added: dict[str, int]  # ops of which there are more now, bodies included, and how many more
    removed: dict[str, int]
    remarks: int  # how many the pass made

    @property
    def change(self) -> str:
        """What the pass did to the nodes, in a line."""
        ops = [f"+{count} {name}" for name, count in self.added.items()]
        ops += [f"-{count} {name}" for name, count in self.removed.items()]
        return f"{self.name}: {self.nodes_before} -> {self.nodes_after} nodes" + (f" ({', '.join(ops)})" if ops else "")

    @property
    def summary(self) -> str:
        """The record in a line."""
        milliseconds = f"{1e3 * self.seconds:.1f} ms"
        return f"{self.change}, {milliseconds}" if self.changed else f"{self.name}: unchanged, {milliseconds}"


class Records(Instrument):
    """Keeps a `PassRecord` of each pass in `records`, in order."""

    def __init__(self) -> None:
        self.records: list[PassRecord] = []
        self._remarks = 0

    def before(self, name: str, graph: Graph, context: PassContext) -> None:
        """Note how many remarks there are already."""
        self._remarks = len(context.remarks)

    def after(self, name: str, before: Graph, after: Graph, context: PassContext, seconds: float) -> None:
        """Add a record."""
        old, new = (operation_counts(graph) for graph in (before, after)) if after is not before else ({}, {})
        added, removed = Counter(new), Counter(old)
        added.subtract(old)
        removed.subtract(new)
        self.records.append(
            PassRecord(
                name=name,
                seconds=seconds,
                changed=after is not before,
                nodes_before=len(before.nodes),
                nodes_after=len(after.nodes),
                added=dict(sorted((+added).items())),
                removed=dict(sorted((+removed).items())),
                remarks=len(context.remarks) - self._remarks,
            )
        )

    @property
    def table(self) -> str:
        """All records as text, one a line, with their times in milliseconds and their sum."""
        width = max([len(record.name) for record in self.records], default=4)
        lines = [f"{'pass':{width}}  {'ms':>8}  {'nodes':>6}  "]
        for record in self.records:
            change = "changed" if record.changed else ""
            numbers = f"{1e3 * record.seconds:8.2f}  {record.nodes_after:6}"
            lines.append(f"{record.name:{width}}  {numbers}  {change}".rstrip())
        total = 1e3 * sum(record.seconds for record in self.records)
        return "\n".join([*lines, f"{'all':{width}}  {total:8.2f}"]) + "\n"


def operation_counts(graph: Graph) -> dict[str, int]:
    """How often each op stands in a graph and in the bodies of its kernels and loops."""
    counts: Counter[str] = Counter()
    graphs = [graph]
    for inner in graphs:  # grows while it is walked
        for node in inner.nodes:
            counts[node.op.name] += 1
            graphs.extend(value for value in node.op.fields.values() if isinstance(value, Graph))
    return dict(counts)
