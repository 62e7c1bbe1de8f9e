"""A recurrence's body and its derivative in one graph, and what of it is worth keeping."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from compiler import functions as f
from compiler.ir import Builder, Fusion, Node, Value
from compiler.ops.cost import CHEAP
from compiler.ops.families import reverse_accumulate
from compiler.ops.scan import Scan
from compiler.types import is_float

__all__ = ["Joint", "with_saved"]

_AGAIN = (Fusion.SOURCE, Fusion.BROADCAST, Fusion.ALIAS, Fusion.INDEXED)


def with_saved(scan: Scan) -> Scan:
    """The scan that keeps all states and stacks what its derivative needs; the first results are those of `scan`."""
    joint = Joint(scan, [is_float(value.type.dtype) for value in scan.stacked])
    known = set(scan.body.results)
    saved = [value for value in joint.saved() if value not in known]
    if not saved and all(scan.kept):
        return scan
    outputs = (*scan.body.outputs, *((f"saved{i}", value) for i, value in enumerate(saved)))
    return dataclasses.replace(scan, kept=(True,) * scan.states, body=dataclasses.replace(scan.body, outputs=outputs))


class Joint:
    """A body and its derivative in one graph.

    Each body value has a twin. `cotangents` are those of the body's inputs, for the seeds of its float outputs.
    """

    def __init__(self, scan: Scan, seeded: Sequence[bool]) -> None:
        body = scan.body
        b = Builder("joint")
        self.twin: dict[Value, Value] = {e.value: b.input(e.name, e.value.type) for e in body.inputs}
        for node in body.nodes:
            b.layer, b.source = node.layer, node.source
            results = b.emit_all(node.op, *(self.twin[value] for value in node.inputs))
            self.twin.update(zip(node.outputs, results, strict=True))
        self.origin = {twin: value for value, twin in self.twin.items()}
        self.forward = len(b.nodes)
        flags = [*(is_float(value.type.dtype) for value in scan.new_states), *seeded]
        self.seeds = [
            b.input(f"seed{i}", value.type) if flag else None
            for i, (value, flag) in enumerate(zip(body.results, flags, strict=True))
        ]
        sums: dict[Value, Value | None] = {}
        for value, seed in zip(body.results, self.seeds, strict=True):
            if seed is not None:
                before = sums.get(self.twin[value])
                sums[self.twin[value]] = seed if before is None else f.add(b, before, seed)
        wanted = [self.twin[entry.value] for entry in body.inputs]
        found = reverse_accumulate(b, tuple(b.nodes[: self.forward]), sums, wanted)
        self.cotangents = [
            value if is_float(entry.value.type.dtype) else None
            for entry, value in zip(body.inputs, found, strict=True)
        ]
        self.builder = b

    def is_forward(self, value: Value) -> bool:
        """Whether it is computed from the body's inputs alone, or is one."""
        return value in self.origin

    def saved(self) -> list[Value]:
        """Body values that the derivative reads and that are worth keeping, in the order of the body."""
        found: set[Value] = set()
        pending = [value for node in self._needed() for value in node.inputs if self.is_forward(value)]
        pending += [value for value in self.cotangents if value is not None and self.is_forward(value)]
        seen: set[Value] = set()
        while pending:
            value = pending.pop()
            if value.node is None or value in seen:
                continue
            seen.add(value)
            if is_cheap(value.node):
                pending.extend(value.node.inputs)
            else:
                found.add(self.origin[value])
        return [value for value in self.twin if value in found]

    def _needed(self) -> list[Node]:
        """The nodes of the second half that a cotangent depends on."""
        needed = {value for value in self.cotangents if value is not None}
        kept = []
        for node in reversed(self.builder.nodes[self.forward :]):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        return kept


def is_cheap(node: Node) -> bool:
    """Whether a node is computed again rather than saved."""
    return node.op.fusion in _AGAIN or (node.op.fusion is Fusion.ELEMENTWISE and node.op.name in CHEAP)
