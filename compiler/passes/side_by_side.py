"""Bring kernels that do not depend on each other side by side in the order of a graph.

The runtime shares out the work of neighbours that are independent as one phase, at the end of which threads wait for
each other (`runtime.phases`). An order made for memory alone goes to and fro: the sum of a layer's cotangents over the
batch stands between the two products that make a gradient, and each of the three has a phase of its own. Here a phase
begins with the first kernel that is left and takes what it can of those that follow shortly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from compiler.ir import Fusion, Node
from compiler.storage import is_kernel

__all__ = ["count_phases", "side_by_side"]


def side_by_side(nodes: Sequence[Node], before: Mapping[Node, Set[Node]], window: int) -> tuple[Node, ...]:
    """The nodes in another order: each phase takes kernels among the next `window` ones.

    Args:
        nodes: in an order that is allowed.
        before: for each node those that must come before it, which are among `nodes` or before all of them.
        window: so many kernels are looked at for each phase, its first one included.
    """
    left = list(nodes)
    order: list[Node] = []
    waiting = set(nodes)
    while left:
        passed: list[Node] = []
        phase: list[Node] = []
        kernels = 0
        for index, node in enumerate(left):
            is_loop = node.op.fusion is Fusion.LOOP
            if kernels == window or (is_loop and phase):
                passed += left[index:]
                break
            kernels += is_kernel(node)
            if not waiting.isdisjoint(before[node]):
                passed.append(node)
            elif is_kernel(node):
                phase.append(node)
            else:
                order.append(node)
                waiting.discard(node)
            if is_loop:
                passed += left[index + 1 :]
                break
        order += phase
        waiting.difference_update(phase)
        left = passed
    return tuple(order)


def count_phases(nodes: Sequence[Node], before: Mapping[Node, Set[Node]]) -> int:
    """How many phases kernels in this order are, if none has to wait for another's memory."""
    phases = 0
    phase: set[Node] = set()
    kernels_before: dict[Node, set[Node]] = {}  # with aliases and constants looked through
    for node in nodes:
        waited_for: set[Node] = set()
        for other in before[node]:
            waited_for |= {other} if is_kernel(other) else kernels_before.get(other, set())
        kernels_before[node] = waited_for
        if is_kernel(node) and (not phase or node.op.fusion is Fusion.LOOP or not phase.isdisjoint(waited_for)):
            phases += 1
            phase = set()
        if is_kernel(node):
            phase.add(node)
    return phases
