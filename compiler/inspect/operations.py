"""How much arithmetic a graph asks for, and what its kernels are built around."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.grouping import reads_memory
from compiler.ir import Fusion, Graph, Node
from compiler.types import product
from runtime.dimensions import Dim


def contraction_flops(graph: Graph) -> Dim:
    """Floating-point operations of all matrix products and convolutions, two for each multiply-add.

    Counted by definition, as the field does: products with padding are included, and Winograd's convolutions count as
    direct ones (after the pass `select_kernels` the transforms of their weights come on top). Element-wise work and
    reductions do not count. A graph that has not been differentiated has no gradients to count; fused groups count as
    what they hold, loops for all their steps. Depends on the batch's symbol.
    """
    return 2 * graph.multiply_adds


def element_operations(graph: Graph) -> Dim:
    """Operations on single elements that a graph asks for: one for each result of an element-wise op, whatever it is
    (an exponential counts as an addition does), one for each element that a reduction or a window reads.

    Copies, conversions, index maps, random bits and contractions count nothing; groups and loops what they hold.
    """
    total: Dim = 0
    for node in graph.nodes:
        total = total + _element_operations(node)
    return total


def _element_operations(node: Node) -> Dim:
    op = node.op
    body = op.fields.get("body")
    if isinstance(body, Graph):
        steps: Dim = op.fields.get("count", 1)
        return element_operations(body) * steps
    if op.name in _COPIES:
        return 0
    if op.fusion is Fusion.ELEMENTWISE:
        return product(node.outputs[0].type.shape)
    if op.fusion is Fusion.REDUCTION:
        return product(node.inputs[0].type.shape)
    if op.fusion is not Fusion.WINDOW:
        return 0
    size = op.fields.get("size")
    if not isinstance(size, tuple):
        return product(node.inputs[0].type.shape)
    windows = node.inputs[-1] if op.name.endswith("_gradient") else node.outputs[0]
    return product(windows.type.shape) * product(size)


def core_of(body: Graph) -> Node | None:
    """The contraction, or the op with a generator or loops of its own, that a kernel is built around; None for a kernel
    of plain loops."""
    return next((node for node in body.nodes if reads_memory(node)), None)


def ops_of(graph: Graph) -> tuple[str, ...]:
    """The names of a graph's ops in the order in which they first appear."""
    return ops_in(graph.nodes)


def ops_in(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The names of the ops of nodes in the order in which they first appear."""
    return tuple(dict.fromkeys(node.op.name for node in nodes))


_COPIES = frozenset({"cast", "stop_gradient", "put_rows"})
