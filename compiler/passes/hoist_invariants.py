"""Compute before a loop what is the same at every step.

    %1 = scan(%h, %x, %u) {                      %2 = transpose(%u)
        %z = matmul(%h0, transpose(%u0))    ->   %1 = scan(%h, %x, %2) {
                                                     %z = matmul(%h0, %u1)

Packed and transformed kernels of a recurrence are made once, not at every step. Broadcasts and sources stay: they cost
nothing where they are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from compiler.grouping import is_cloned
from compiler.ir import Builder, Fusion, Graph, Input, Node, Value
from compiler.ops.scan import Scan
from compiler.ops.sources import Constant
from compiler.passes.context import PassContext
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.rewrite import rewrite


def hoist_invariants(graph: Graph, context: PassContext) -> Graph:
    """Move what depends on constants alone out of every loop."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        return _hoist(b, node.op, inputs) if isinstance(node.op, Scan) else None

    if not any(isinstance(node.op, Scan) for node in graph.nodes):
        return graph
    return eliminate_dead_code(rewrite(graph, rule), context)


def _hoist(b: Builder, scan: Scan, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
    first = scan.states + scan.sequences
    parameters = scan.body.inputs[first:]
    outside = {entry.value: value for entry, value in zip(parameters, inputs[first:], strict=False)}
    stable = _stable(scan.body, set(outside))
    moved = _read_by_others(scan.body, stable)
    if not moved:
        return None
    for node in scan.body.nodes:
        if stable.issuperset(node.outputs):
            with b.scope(layer=node.layer, source=node.source):
                results = b.emit_all(node.op, *(outside[value] for value in node.inputs))
            outside.update(zip(node.outputs, results, strict=True))
    body = scan.body
    names = [Input(f"hoisted{len(parameters) + i}", value) for i, value in enumerate(moved)]
    nodes, fresh = _over_parameters(body, moved)
    entries = tuple(Input(entry.name, fresh[entry.value]) for entry in names)
    outputs = tuple((name, fresh.get(value, value)) for name, value in body.outputs)
    changed = dataclasses.replace(body, inputs=(*body.inputs, *entries), nodes=nodes, outputs=outputs)
    changed = eliminate_dead_code(changed, PassContext())
    own = inputs[: len(body.inputs)]
    return b.emit_all(
        dataclasses.replace(scan, body=changed), *own, *(outside[value] for value in moved), *inputs[len(body.inputs) :]
    )


def _stable(body: Graph, parameters: set[Value]) -> set[Value]:
    """Values that depend on the loop's constants alone."""
    stable = set(parameters)
    for node in body.nodes:
        if stable.issuperset(node.inputs) and node.op.fusion is not Fusion.OPAQUE:
            stable.update(node.outputs)
    return stable


def _read_by_others(body: Graph, stable: set[Value]) -> list[Value]:
    """Stable values that cost something and that unstable nodes, or what repeats them, read."""
    found: dict[Value, None] = {}
    pending = [value for node in body.nodes if not stable.issuperset(node.outputs) for value in node.inputs]
    pending += body.results
    while pending:
        value = pending.pop(0)
        if value not in stable or value.node is None:
            continue
        if is_cloned(value.node) or isinstance(value.op, Constant):
            pending.extend(value.node.inputs)
        else:
            found[value] = None
    return list(found)


def _over_parameters(body: Graph, moved: list[Value]) -> tuple[tuple[Node, ...], dict[Value, Value]]:
    """The body's nodes with new parameters in the place of the moved values, and all that was replaced."""
    new: dict[Value, Value] = {value: Value(value.type) for value in moved}
    b = Builder(body.name)
    for node in body.nodes:
        if not new.keys().isdisjoint(node.outputs):
            continue
        if new.keys().isdisjoint(node.inputs):
            b.nodes.append(node)
            continue
        with b.scope(layer=node.layer, source=node.source):
            results = b.emit_all(node.op, *(new.get(value, value) for value in node.inputs))
        new.update(zip(node.outputs, results, strict=True))
    return tuple(b.nodes), new
