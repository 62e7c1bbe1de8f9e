"""The loop nests of the CUDA target: one work item for each result.

A CPU wants few long loops and keeps the open sums of a column reduction in scratch rows. A GPU has threads to
spare: here every work item is one element of an elementwise kernel, or one finished result of a reduction with
the loops that lead to it. The ops' own `lower` is the same for both.
"""

from __future__ import annotations

from compiler.codegen.cuda_sharing import share_repeated
from compiler.collapse import collapse
from compiler.grouping import Plan, is_cloned
from compiler.ir import Fusion, Graph, Value
from compiler.loops import BEGIN, END, INDEX, Accumulate, Expr, Kernel, Let, Loop, LoopKernel, Statement, literal
from compiler.lower import lower_group, plan_of
from compiler.lowering import KernelLowering, unflatten
from compiler.ops.contraction import Matmul
from compiler.types import product

TILED_DTYPES = ("float32", "float64")
SHARED_DTYPES = ("float32", "float64", "int32", "int64")  # of partial results that a block combines
LONG_REDUCTION = 64  # from here on a whole block works on one result
MANY_RESULTS = 1 << 16  # with so many results there is a thread for each, however long their loops are


def lower_for_cuda(body: Graph) -> Kernel:
    """The kernel of a fused body: a `ContractionKernel` for matrix products of floats, else a loop nest.

    Raises:
        ValueError: if the body is no group that `fuse` could have made.
    """
    factors = next((node for node in body.nodes if node.op.fusion is Fusion.CONTRACTION), None)
    if factors is not None and isinstance(factors.op, Matmul) and factors.inputs[0].type.dtype in TILED_DTYPES:
        return lower_group(body)
    return lower_per_result(body)


def lower_per_result(body: Graph) -> LoopKernel:
    """The kernel of a fused body whose work items are its results."""
    body = collapse(body, plan_of(body))
    plan = plan_of(body)
    k = KernelLowering(body)
    shape = plan.kept if plan.kind in ("row", "column") else plan.shape
    item, outer = k.open_loop("item", BEGIN, END)
    index = unflatten(k, shape, item)
    k.place(shape, index, item)
    outputs = list(enumerate(value for _, value in body.outputs))
    for node in body.nodes:
        # Everything of the item is computed before anything is stored: a result may take an operand's memory.
        if not is_cloned(node) and node.outputs[0].type.shape == shape:
            k.element(node.outputs[0], index)
    k.store([entry for entry in outputs if entry[1].type.shape == shape], index)
    elements = [entry for entry in outputs if entry[1].type.shape != shape]
    if elements:
        _store_elements(k, plan, index, elements)
    k.close_loop(outer)
    return share_repeated(k.loop_kernel(product(shape)))


def _store_elements(k: KernelLowering, plan: Plan, kept: tuple[Expr, ...], elements: list[tuple[int, Value]]) -> None:
    """Loops over the reduced axes that write the outputs which have them."""
    given = iter(kept)
    loops: list[Loop] = []
    index: list[Expr] = []
    for axis, extent in enumerate(plan.shape):
        if axis not in plan.axes:
            index.append(next(given))
            continue
        i, loop = k.open_loop("i", literal(0, INDEX), k.extent(extent))
        loops.append(loop)
        index.append(i)
    k.store(elements, index)
    for loop in reversed(loops):
        k.close_loop(loop)


def item_loop(kernel: LoopKernel) -> Loop:
    """The loop over work items: `lower_per_result` puts everything but hoisted scalars into it."""
    return next(statement for statement in kernel.body if isinstance(statement, Loop))


def combined_in(loop: Loop, item: Loop) -> list[Accumulate]:
    """The accumulations inside a loop of the item's body whose totals belong to the item, one for each total."""
    own = {statement.target.name for statement in item.body if isinstance(statement, Let)}
    found: dict[str, Accumulate] = {}
    pending: list[Statement] = list(loop.body)
    for statement in pending:  # grows while it is walked
        if isinstance(statement, Loop):
            pending.extend(statement.body)
        elif isinstance(statement, Accumulate) and statement.target.name in own:
            found[statement.target.name] = statement
    return list(found.values())


def wants_blocks(kernel: LoopKernel) -> bool:
    """Whether a block of threads should share each work item: few results behind long reductions."""
    if isinstance(kernel.work, int) and kernel.work > MANY_RESULTS:
        return False
    item = item_loop(kernel)
    is_long = False
    for loop in item.body:
        if not isinstance(loop, Loop):
            continue
        combined = combined_in(loop, item)
        if any(entry.target.dtype not in SHARED_DTYPES for entry in combined):
            return False
        is_long = is_long or (bool(combined) and _may_be_long(loop))
    return is_long


def _may_be_long(loop: Loop) -> bool:
    dim = getattr(loop.stop, "dim", None)  # a literal extent is below RUN_TIME_EXTENT
    return dim is not None and (not isinstance(dim, int) or dim >= LONG_REDUCTION)
