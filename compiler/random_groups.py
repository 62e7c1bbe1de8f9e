"""Maps with random numbers: loops in the order in which the generator makes them.

A block of the generator has four words, which belong to elements eight apart (`compiler.ops.random`). Element by
element each block would be computed four times; here the loop runs over blocks, and one turn computes four elements:

    for row:  for group in columns / 32:  for lane in 8:  elements 32 group + lane + (0, 8, 16, 24)
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Graph
from compiler.joins import results_at
from compiler.loops import BEGIN, END, INDEX, LoopKernel, Store, literal
from compiler.lowering import KernelLowering, unflatten
from compiler.ops.random import LANES, WORDS, RandomBits
from compiler.types import product
from runtime.dimensions import Dim

GROUP = WORDS * LANES


def draws_whole_groups(body: Graph, shape: Sequence[Dim]) -> bool:
    """Whether a group draws numbers for its elements, and its rows are whole groups of 32."""
    columns = shape[-1]
    if not isinstance(columns, int) or columns % GROUP != 0:
        return False
    return any(isinstance(node.op, RandomBits) and node.op.shape == tuple(shape) for node in body.nodes)


def lower_groups(k: KernelLowering, shape: tuple[Dim, ...]) -> LoopKernel:
    """A map over [*rows, columns]; work items are rows."""
    groups = shape[-1] // GROUP
    row, outer = k.open_loop("row", BEGIN, END)
    leading = unflatten(k, shape[:-1], row)
    group, middle = k.open_loop("group", literal(0, INDEX), k.extent(groups))
    lane, inner = k.open_loop("lane", literal(0, INDEX), literal(LANES, INDEX))
    block = k.let((row * k.extent(groups) + group) * LANES + lane)
    # Everything of a turn is computed before anything is stored: a result may take an operand's memory.
    stores: list[Store] = []
    for word in range(WORDS):
        column = k.let(group * GROUP + word * LANES + lane)
        place = (*leading, column)
        k.columns[shape, place] = (block, word)
        k.place(shape, place, row * k.extent(shape[-1]) + column)
        stores += results_at(k, place)
    k.scopes[-1].statements += stores
    for loop in (inner, middle, outer):
        k.close_loop(loop)
    return k.loop_kernel(product(shape[:-1]))
