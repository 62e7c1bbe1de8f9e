"""How much arithmetic a graph asks for."""

from __future__ import annotations

from compiler.ir import Graph
from runtime.dimensions import Dim


def contraction_flops(graph: Graph) -> Dim:
    """Floating-point operations of all matrix products and convolutions, two for each multiply-add.

    Counted by definition, as the field does: products with padding are included, and Winograd's convolutions count as
    direct ones (after the pass `select_kernels` the transforms of their weights come on top). Element-wise work and
    reductions do not count. A graph that has not been differentiated has no gradients to count; fused groups count as
    what they hold, loops for all their steps. Depends on the batch's symbol.
    """
    return 2 * graph.multiply_adds
