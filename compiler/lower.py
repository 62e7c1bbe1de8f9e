"""One fused group -> one kernel: the loop nest of each kind of group.

`compiler.lowering` has the machinery, `compiler.lower_column` the passes of column reductions; here are the other
schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.collapse import collapse
from compiler.grouping import Plan, Refusal, classify, is_cloned
from compiler.ir import Fusion, Graph
from compiler.joins import store_results
from compiler.loops import (
    BEGIN,
    END,
    INDEX,
    ContractionKernel,
    Expr,
    Kernel,
    Local,
    Loop,
    LoopKernel,
    ScratchLoad,
    ScratchStore,
    binary,
    literal,
)
from compiler.lower_column import ColumnPass, lower_items, outer_axes, trailing
from compiler.lower_images import lower_images, lower_images_to_loops
from compiler.lower_rows import has_rows, lower_rows
from compiler.lowering import RUN_TIME_EXTENT, KernelLowering, flat_index, prune, unflatten
from compiler.random_groups import draws_whole_groups, lower_groups
from compiler.tiles import lower_tiles, tile_of
from compiler.types import product
from runtime.dimensions import Dim, ceil_div

FLAT_BLOCK = 1024  # elements in one work item of a flat kernel; a multiple of every unrolled vector loop
LONGEST_KEPT_ROW = 2048  # elements of a private row that stay in the first-level cache beside the operands
COSTLY = frozenset({
    "exp", "expm1", "log", "log1p", "power", "sin", "cos", "tanh", "sigmoid", "erf",
})  # fmt: skip
COLUMN_BLOCK = 64  # columns in one work item of a column reduction


def plan_of(body: Graph) -> Plan:
    """The loop nest of a fused body.

    Raises:
        ValueError: if the body is no group that `fuse` could have made.
    """
    members = [node for node in body.nodes if not is_cloned(node)] or list(body.nodes)
    plan = classify(members, [value for _, value in body.outputs])
    if isinstance(plan, Refusal):
        raise ValueError(f"Cannot lower a fused group to one kernel: {plan.reason}.")
    return plan


def lower_group(body: Graph, *, contraction_kernels: bool = True) -> Kernel:
    """The kernel of a fused body.

    With `contraction_kernels` a matrix product or convolution becomes a `ContractionKernel` for the target's
    own generator; without, the plain loop nest of its `lower`.
    """
    plan = plan_of(body)
    if plan.kind == "whole":
        (node,) = body.nodes
        return node.op.loop_kernel([value.type for value in (*node.inputs, *node.outputs)])
    if plan.kind == "contraction" and contraction_kernels:
        return _lower_contraction(body, plan)
    if plan.kind == "contraction" and plan.axes:
        return lower_images_to_loops(body, plan)
    body = collapse(body, plan)
    plan = plan_of(body)
    k = KernelLowering(body)
    match plan.kind:
        case "row":
            return _lower_row(k, plan)
        case "column":
            return _lower_column(k, plan)
    return _lower_map(k, plan)


def _lower_map(k: KernelLowering, plan: Plan) -> LoopKernel:
    """Work items are blocks of a flat range, or rows of the last axis."""
    if has_rows(k.body):
        return lower_rows(k, plan)
    if len(plan.shape) <= 1:
        extent: Dim = plan.shape[0] if plan.shape else 1
        start, stop = _block_range(k, extent, FLAT_BLOCK)
        i, loop = k.open_loop("i", start, stop)
        store_results(k, (i,) if plan.shape else ())
        k.close_loop(loop)
        return k.loop_kernel(ceil_div(extent, FLAT_BLOCK))
    if (tile := tile_of(k.body)) is not None:
        return lower_tiles(k, plan.shape, tile)
    if draws_whole_groups(k.body, plan.shape):
        return lower_groups(k, plan.shape)
    rows = product(plan.shape[:-1])
    row, outer = k.open_loop("row", BEGIN, END)
    leading = unflatten(k, plan.shape[:-1], row)
    i, inner = k.open_loop("i", literal(0, INDEX), k.extent(plan.shape[-1]))
    k.place(plan.shape, (*leading, i), row * k.extent(plan.shape[-1]) + i)
    store_results(k, (*leading, i))
    k.close_loop(inner)
    k.close_loop(outer)
    return k.loop_kernel(rows)


def _block_range(k: KernelLowering, extent: Dim, block: int) -> tuple[Expr, Expr]:
    """First and one-past-last element of this call's blocks."""
    size = literal(block, INDEX)
    return k.let(BEGIN * size), k.let(binary("minimum", END * size, k.extent(extent)))


def _lower_row(k: KernelLowering, plan: Plan) -> LoopKernel:
    """Work items are rows; reductions are loops inside, placed by demand."""
    row, outer = k.open_loop("row", BEGIN, END)
    leading = unflatten(k, plan.kept, row)
    outputs = list(enumerate(value for _, value in k.body.outputs))
    _keep_costly(k, plan, leading)
    for node in k.body.nodes:
        # Everything of the row is computed before anything is stored: a result may take an operand's memory.
        if not is_cloned(node) and node.outputs[0].type.shape == plan.kept:
            k.element(node.outputs[0], leading)
    k.store([entry for entry in outputs if entry[1].type.shape == plan.kept], leading)
    elements = [entry for entry in outputs if entry[1].type.shape != plan.kept]
    if elements:
        index, loops = _open_row(k, plan)
        k.store(elements, (*leading, *index))
        for loop in reversed(loops):
            k.close_loop(loop)
    k.close_loop(outer)
    return k.loop_kernel(product(plan.kept))


def _open_row(k: KernelLowering, plan: Plan) -> tuple[tuple[Expr, ...], list[Loop]]:
    """Loops over the elements of a row."""
    opened = [k.open_loop("i", literal(0, INDEX), k.extent(extent)) for extent in plan.shape[len(plan.kept) :]]
    return tuple(index for index, _ in opened), [loop for _, loop in opened]


def _keep_costly(k: KernelLowering, plan: Plan, leading: tuple[Expr, ...]) -> None:
    """Compute once what is costly and read by several: the exponentials of a softmax, summed and then divided.

    They wait in a private row. Other elements are computed anew by each loop that reads them, from operands that
    the first-level cache holds. A vector that is all one row is computed anew too: its sums know no row, and would be
    taken before the loop that fills the private one.
    """
    if not plan.kept:
        return
    inner = plan.shape[len(plan.kept) :]
    length = product(inner)
    if not isinstance(length, int) or not RUN_TIME_EXTENT <= length <= LONGEST_KEPT_ROW:
        return
    users = k.body.users()
    for node in k.body.nodes:
        (value,) = node.outputs
        if node.op.name not in COSTLY or value.type.shape != plan.shape or len(set(users[value])) < 2:
            continue
        k.scratch_rows.append((value.type.dtype, length))
        row = len(k.scratch_rows) - 1
        index, loops = _open_row(k, plan)
        scalar = k.element(value, (*leading, *index))
        k.scopes[-1].statements.append(ScratchStore(row, flat_index(k, inner, index), scalar))
        for loop in reversed(loops):
            k.close_loop(loop)
        k.given[value] = _row_reader(k, row, value.type.dtype, inner)


def _row_reader(
    k: KernelLowering, row: int, dtype: str, inner: tuple[Dim, ...]
) -> Callable[[Sequence[Expr]], Expr]:
    return lambda index: k.let(ScratchLoad(dtype, row, flat_index(k, inner, index[len(index) - len(inner) :])))


def _lower_column(k: KernelLowering, plan: Plan) -> LoopKernel:
    """Axes before the last reduced one that are kept are work items; if there are none, blocks of columns are."""
    if outer_axes(plan):
        return k.loop_kernel(lower_items(k, plan, BEGIN, END))
    columns = product(trailing(plan))
    ColumnPass(k, plan, {}, *_block_range(k, columns, COLUMN_BLOCK)).run()
    return k.loop_kernel(ceil_div(columns, COLUMN_BLOCK))


def _constant_reader(value: Expr) -> Callable[[Sequence[Expr]], Expr]:
    return lambda index: value


def _lower_contraction(body: Graph, plan: Plan) -> ContractionKernel:
    """The tail of a contraction at one (row, column) of its result seen as a matrix, and what follows by images."""
    node = next(n for n in body.nodes if n.op.fusion is Fusion.CONTRACTION)
    k = KernelLowering(body)
    row, outer = k.open_loop("row", BEGIN, END)
    column, inner = k.open_loop("column", literal(0, INDEX), literal(1, INDEX))
    finished = Local(node.outputs[0].type.dtype, "value", 2)
    k.given[node.outputs[0]] = _constant_reader(finished)
    shape = node.outputs[0].type.shape
    index = (*unflatten(k, shape[:-1], row), column)
    k.place(shape, index, row * k.extent(shape[-1]) + column)
    k.store([(i, value) for i, (_, value) in enumerate(body.outputs) if value.type.shape == shape], index)
    tail = prune([*outer.body, *inner.body])
    passes = lower_images(body, plan, k) if plan.axes else None
    images = () if passes is None else prune(passes.scopes[0].statements)
    operand_types = [e.value.type for e in body.inputs] + [value.type for _, value in body.outputs]
    return ContractionKernel(
        k.operands(),
        node.op,
        (*(v.type for v in node.inputs), node.outputs[0].type),
        k.used_extents([*k.scopes[0].statements, *tail, *images]),
        row,
        column,
        finished,
        tuple(k.scopes[0].statements),
        tail,
        tuple(i for i, type_ in enumerate(operand_types) if i > 1 and type_.shape == shape),
        images,
        () if passes is None else tuple(passes.scratch_rows),
    )
