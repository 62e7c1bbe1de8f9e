"""How much arithmetic a graph asks for."""

from __future__ import annotations

from compiler.ir import Graph
from compiler.ops.fused import Fused
from runtime.dimensions import Dim


def contraction_flops(graph: Graph) -> Dim:
    """Floating-point operations of all matrix products and convolutions, two for each multiply-add.

    Counted by definition, as the field does: products with padding are included, and Winograd's convolutions count as
    direct ones (after the pass `select_kernels` the transforms of their weights come on top). Element-wise work and
    reductions do not count. A graph that has not been differentiated has no gradients to count; fused groups count as
    what they hold. Depends on the batch's symbol.
    """
    total: Dim = 0
    for node in graph.nodes:
        if isinstance(node.op, Fused):
            total = total + contraction_flops(node.op.body)
            continue
        types = [value.type for value in node.inputs], [value.type for value in node.outputs]
        total = total + 2 * node.op.multiply_adds(*types)
    return total
