"""Concatenations at the end of a kernel: each part is stored where it belongs, and nothing is read back to join them.

    %4 = concatenate(%1, %2, %3)        for row:  for i in a part's columns:
                                            y[row, i], y[row, n + i], y[row, 2 * n + i] = ...

The loops of such a kernel run over one part. So the gradients of a recurrent cell's gates, which share much of what
they are made of, are computed once and written side by side, as the product that follows wants them. All parts must be
of one shape, side by side on the last axis, and nothing else in the kernel may read the joined value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from compiler.ir import Node, Value
from compiler.loops import Expr, Store
from compiler.lowering import KernelLowering, flat_index
from compiler.ops.slicing import Concatenate
from runtime.dimensions import Dim

__all__ = ["is_join", "joins_of", "results_at", "store_results"]


def is_join(node: Node) -> bool:
    """Whether a node puts several parts of one shape side by side on the last axis."""
    if not isinstance(node.op, Concatenate) or len(node.inputs) < 2:
        return False
    return node.op.axis == node.outputs[0].type.rank - 1 and len({value.type for value in node.inputs}) == 1


def joins_of(members: Collection[Node], outputs: Sequence[Value]) -> list[Node]:
    """The concatenations of a group that are stored part by part: results that no other member reads.

    None unless all others, if there are any, have the shape of the parts.
    """
    read = {value for node in members for value in node.inputs}
    found = [n for n in members if is_join(n) and n.outputs[0] in outputs and n.outputs[0] not in read]
    shapes = {node.inputs[0].type.shape for node in found}
    shapes |= {node.outputs[0].type.shape for node in members if node not in found}
    return found if len(shapes) == 1 else []


def results_at(k: KernelLowering, index: Sequence[Expr]) -> list[Store]:
    """The stores of all results of a map at one index of its shape, those of a joined one part by part.

    All scalars are computed before the first is written, so that a result may take the memory of an input.
    """
    index = tuple(k.let(part) for part in index)
    parts_of = {node.outputs[0]: node.inputs for node in joins_of(k.body.nodes, k.body.results)}
    places: list[tuple[int, Value, Value, Dim]] = []
    for position, (_, value) in enumerate(k.body.outputs, len(k.body.inputs)):
        begin: Dim = 0
        for part in parts_of.get(value, (value,)):
            places.append((k.numbers[position], value, part, begin))
            begin = begin + part.type.shape[-1] if part is not value else begin
    scalars = [k.element(part, index) for _, _, part, _ in places]
    stores = []
    for (operand, value, part, begin), scalar in zip(places, scalars, strict=True):
        place = [*index[:-1], index[-1] + k.extent(begin)] if begin != 0 else list(index)
        flat = k.flat(value.type.shape, place) if part is value else flat_index(k, value.type.shape, place)
        stores.append(Store(operand, flat, scalar))
    return stores


def store_results(k: KernelLowering, index: Sequence[Expr]) -> None:
    """Store all results of a map at one index of its shape: see `results_at`."""
    k.scopes[-1].statements += results_at(k, index)
