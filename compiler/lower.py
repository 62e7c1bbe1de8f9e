"""One fused group -> one kernel.

Lowering is demand driven. The schedule of a group opens the loops and asks for the scalars it must store;
each op's `lower` asks for the scalars it reads. A scalar is placed in the outermost loop that knows all
indices it depends on, so that a row's maximum is computed once a row and a bias once a column without any
later pass. Column reductions, whose results all stay open during one pass over memory, accumulate in private
scratch rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from compiler.collapse import collapse
from compiler.grouping import Plan, Refusal, classify, is_cloned
from compiler.ir import Fusion, Graph, Node, Value
from compiler.loops import (
    BEGIN,
    END,
    INDEX,
    Accumulate,
    ContractionKernel,
    Expr,
    Extent,
    Kernel,
    Let,
    Literal,
    Load,
    Local,
    Loop,
    LoopKernel,
    Lowering,
    Operand,
    ScratchLoad,
    ScratchStore,
    Statement,
    Store,
    binary,
    call,
    expressions_of,
    literal,
    local_depth,
    locals_of,
    reduction_start,
    walk,
)
from compiler.ops.reduce import Reduction
from compiler.types import product
from runtime.dimensions import Dim, ceil_div, symbols_of

RUN_TIME_EXTENT = 16  # sizes from here on are passed at run time: unrolling such a loop gains nothing
FLAT_BLOCK = 1024  # elements in one work item of a flat kernel; a multiple of every unrolled vector loop
COLUMN_BLOCK = 64  # columns in one work item of a column reduction
ROW_BLOCK = 64  # rows summed before they are added to the total: keeps float32 sums accurate


@dataclasses.dataclass(slots=True)
class Scope:
    """An open loop: its statements so far, and the scalars already named in it."""

    statements: list[Statement]
    known: dict[tuple[Value, tuple[Expr, ...]], Expr] = dataclasses.field(default_factory=dict)
    named: dict[Expr, Local] = dataclasses.field(default_factory=dict)


class KernelLowering(Lowering):
    """Lowers one body; `scopes[d]` is the loop at nesting depth d (0: before all loops)."""

    def __init__(self, body: Graph) -> None:
        self.body = body
        self.operand_index: dict[Value, int] = {e.value: i for i, e in enumerate(body.inputs)}
        self.scopes = [Scope([])]
        self.extents: list[Dim] = []
        self.scratch_rows: list[tuple[str, Dim]] = []
        self.given: dict[Value, Callable[[Sequence[Expr]], Expr]] = {}
        self.names: dict[str, int] = {}
        self.depth = 0  # where the scalar being lowered belongs
        self.domain: tuple[tuple[Dim, ...], tuple[Expr, ...], Expr] | None = None

    # -------------------------------------------------------------------------------- Lowering protocol

    def extent(self, dim: Dim) -> Expr:
        """A literal if it is small, else a size the call passes, so that layers of other sizes share the code."""
        if isinstance(dim, int) and dim < RUN_TIME_EXTENT:
            return literal(dim, INDEX)
        if dim not in self.extents:
            self.extents.append(dim)
        return Extent(INDEX, dim)

    def let(self, value: Expr) -> Expr:
        """Name a value in the outermost scope that can compute it."""
        if isinstance(value, (Literal, Local, Extent)):
            return value
        scope = self.scopes[depth := local_depth(value)]
        if value not in scope.named:
            scope.named[value] = Local(value.dtype, self.fresh("v"), depth)
            scope.statements.append(Let(scope.named[value], value))
        return scope.named[value]

    def reduce(
        self, combine: str, dtype: str, extents: Sequence[Dim], body: Callable[[tuple[Expr, ...]], Expr]
    ) -> Expr:
        """Loops over `extents` around `body`, placed where the scalar being lowered belongs."""
        outer, inner = self.scopes[: self.depth + 1], self.scopes[self.depth + 1 :]
        home = self.depth
        self.scopes = outer
        total = Local(dtype, self.fresh("total"), home)
        outer[home].statements.append(Let(total, reduction_start(combine, dtype)))
        indices = [self.open_loop("r", literal(0, INDEX), self.extent(extent)) for extent in extents]
        self.depth = len(self.scopes) - 1  # a reduction inside the body belongs inside these loops
        value = body(tuple(index for index, _ in indices))
        self.scopes[-1].statements.append(Accumulate(total, combine, value))
        for _, loop in reversed(indices):
            self.close_loop(loop)
        self.scopes = outer + inner
        self.depth = home
        return total

    # ------------------------------------------------------------------------------------------- pieces

    def fresh(self, stem: str) -> str:
        """A name not used yet in this kernel."""
        count = self.names.get(stem, 0)
        self.names[stem] = count + 1
        return f"{stem}{count}"

    def open_loop(self, stem: str, start: Expr, stop: Expr, step: int = 1) -> tuple[Local, Loop]:
        """Open a loop inside the innermost scope."""
        index = Local(INDEX, self.fresh(stem), len(self.scopes))
        loop = Loop(index, start, stop, [], step)
        self.scopes.append(Scope(loop.body))
        return index, loop

    def close_loop(self, loop: Loop) -> None:
        """Close the innermost scope and append its loop to the one around it."""
        self.scopes.pop()
        self.scopes[-1].statements.append(loop)

    def element(self, value: Value, index: Sequence[Expr]) -> Expr:
        """The scalar of `value` at `index`, computed at most once per scope."""
        index = tuple(self.let(part) for part in index)
        depth = max((local_depth(part) for part in index), default=0)
        known = self.scopes[depth].known
        if (value, index) in known:
            return known[value, index]
        if value in self.given:
            result = self.given[value](index)
        elif value in self.operand_index:
            flat = self.flat(value.type.shape, index)
            result = self.let(Load(value.type.dtype, self.operand_index[value], flat))
        else:
            result = self._compute(value, index, depth)
        known[value, index] = result
        return result

    def _compute(self, value: Value, index: tuple[Expr, ...], depth: int) -> Expr:
        node = value.producer
        before = self.depth
        self.depth = depth
        types = [v.type for v in node.inputs] + [value.type]
        readers = [self._reader(v) for v in node.inputs]
        result = node.op.lower(self, readers, types, index)
        self.depth = before
        return self.let(result)

    def _reader(self, value: Value) -> Callable[[Sequence[Expr]], Expr]:
        return lambda index: self.element(value, index)

    def place(self, shape: Sequence[Dim], index: Sequence[Expr], flat: Expr) -> None:
        """From now on `flat` is known to be the row-major position of `index` in `shape`."""
        self.domain = (tuple(shape), tuple(self.let(part) for part in index), flat)

    def flat(self, shape: Sequence[Dim], index: Sequence[Expr]) -> Expr:
        """Row-major position of an index."""
        if self.domain is not None and self.domain[:2] == (tuple(shape), tuple(index)):
            return self.domain[2]
        return flat_index(self, shape, index)

    def store(self, values: Sequence[tuple[int, Value]], index: Sequence[Expr]) -> None:
        """Store results of the body at an index: all are computed before the first is written, so that a
        result may take the memory of an input."""
        index = tuple(self.let(part) for part in index)
        scalars = [self.element(value, index) for _, value in values]
        for (position, value), scalar in zip(values, scalars, strict=True):
            operand = len(self.body.inputs) + position
            self.scopes[-1].statements.append(Store(operand, self.flat(value.type.shape, index), scalar))

    def operands(self) -> tuple[Operand, ...]:
        """Inputs, then results."""
        read = tuple(Operand(e.value.type.dtype, False) for e in self.body.inputs)
        return read + tuple(Operand(v.type.dtype, True) for _, v in self.body.outputs)

    def loop_kernel(self, work: Dim) -> LoopKernel:
        """What has been lowered, as a kernel."""
        body = prune(self.scopes[0].statements)
        return LoopKernel(self.operands(), self.used_extents(body), work, body, tuple(self.scratch_rows))

    def used_extents(self, statements: Sequence[Statement]) -> tuple[Dim, ...]:
        """The run-time sizes that statements read, in order of first need."""
        used: dict[Dim, None] = {}
        pending = list(statements)
        for statement in pending:  # grows while it is walked
            for expression in expressions_of(statement):
                used.update((inner.dim, None) for inner in walk(expression) if isinstance(inner, Extent))
            if isinstance(statement, Loop):
                pending.extend(statement.body)
        return tuple(used)


def flat_index(k: Lowering, shape: Sequence[Dim], index: Sequence[Expr]) -> Expr:
    """Row-major position of an index."""
    flat: Expr = literal(0, INDEX)
    for extent, part in zip(shape, index, strict=True):
        flat = flat * k.extent(extent) + part
    return flat


def unflatten(k: Lowering, shape: Sequence[Dim], flat: Expr) -> tuple[Expr, ...]:
    """The index at a row-major position."""
    parts: list[Expr] = []
    for extent in reversed(shape[1:]):
        size = k.extent(extent)
        # A position is never negative: unsigned division is right, and cheaper.
        parts.append(k.let(call("index_remainder", flat, size)))
        flat = k.let(call("index_floor_divide", flat, size))
    return (flat, *reversed(parts)) if shape else ()


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
    if plan.kind == "contraction" and contraction_kernels:
        return _lower_contraction(body)
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
    outputs = list(enumerate(value for _, value in k.body.outputs))
    if len(plan.shape) <= 1:
        extent: Dim = plan.shape[0] if plan.shape else 1
        start, stop = _block_range(k, extent, FLAT_BLOCK)
        i, loop = k.open_loop("i", start, stop)
        k.store(outputs, (i,) if plan.shape else ())
        k.close_loop(loop)
        return k.loop_kernel(ceil_div(extent, FLAT_BLOCK))
    rows = product(plan.shape[:-1])
    row, outer = k.open_loop("row", BEGIN, END)
    leading = unflatten(k, plan.shape[:-1], row)
    i, inner = k.open_loop("i", literal(0, INDEX), k.extent(plan.shape[-1]))
    k.place(plan.shape, (*leading, i), row * k.extent(plan.shape[-1]) + i)
    k.store(outputs, (*leading, i))
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
    k.store([entry for entry in outputs if entry[1].type.shape == plan.kept], leading)
    elements = [entry for entry in outputs if entry[1].type.shape != plan.kept]
    if elements:
        loops = [
            k.open_loop("i", literal(0, INDEX), k.extent(extent)) for extent in plan.shape[len(plan.kept) :]
        ]
        k.store(elements, (*leading, *(i for i, _ in loops)))
        for _, loop in reversed(loops):
            k.close_loop(loop)
    k.close_loop(outer)
    return k.loop_kernel(product(plan.kept))


def _lower_column(k: KernelLowering, plan: Plan) -> LoopKernel:
    """One pass over memory; the trailing kept axis stays open in scratch rows.

    Axes before the last reduced one that are kept are work items; if there are none, blocks of columns are.
    """
    rank = len(plan.shape)
    last_reduced = max(plan.axes)
    tail = tuple(range(last_reduced + 1, rank))
    outer_axes = tuple(axis for axis in range(last_reduced) if axis not in plan.axes)
    columns = product(tuple(plan.shape[axis] for axis in tail))
    index: dict[int, Expr] = {}
    start: Expr = literal(0, INDEX)
    stop = k.extent(columns)
    loops: list[Loop] = []
    if outer_axes:
        extents = tuple(plan.shape[axis] for axis in outer_axes)
        item, loop = k.open_loop("item", BEGIN, END)
        loops.append(loop)
        index.update(zip(outer_axes, unflatten(k, extents, item), strict=True))
        work = product(extents)
    else:
        start, stop = _block_range(k, columns, COLUMN_BLOCK)
        work = ceil_div(columns, COLUMN_BLOCK)
    pass_ = _ColumnPass(k, plan, index, start, stop, columns)
    pass_.run(tail)
    for loop in reversed(loops):
        k.close_loop(loop)
    return k.loop_kernel(work)


class _ColumnPass:
    """The accumulation over the reduced axes and what follows it."""

    def __init__(
        self, k: KernelLowering, plan: Plan, index: dict[int, Expr], start: Expr, stop: Expr, columns: Dim
    ) -> None:
        self.k, self.plan, self.index = k, plan, index
        self.start, self.stop = start, stop
        self.reductions = [n for n in k.body.nodes if n.op.fusion is Fusion.REDUCTION]
        self.rows: dict[Node, tuple[int, int]] = {}
        for node in self.reductions:
            dtype = node.outputs[0].type.dtype
            self.rows[node] = (len(k.scratch_rows), len(k.scratch_rows) + 1)
            k.scratch_rows += [(dtype, columns), (dtype, columns)]

    def run(self, tail: tuple[int, ...]) -> None:
        """Emit the whole pass. After `collapse` there is exactly one trailing kept axis."""
        (column_axis,) = tail
        self._fill(which=0)
        reduced = sorted(self.plan.axes)
        loops = []
        for axis in reduced[:-1]:
            i, loop = self.k.open_loop("r", literal(0, INDEX), self.k.extent(self.plan.shape[axis]))
            self.index[axis] = i
            loops.append(loop)
        size = self.k.extent(self.plan.shape[reduced[-1]])
        first, blocks = self.k.open_loop("block", literal(0, INDEX), size, ROW_BLOCK)
        self._fill(which=1)
        last = self.k.let(binary("minimum", first + ROW_BLOCK, size))
        i, rows = self.k.open_loop("r", first, last)
        self.index[reduced[-1]] = i
        self._accumulate(column_axis)
        self.k.close_loop(rows)
        self._add_block()
        self.k.close_loop(blocks)
        for loop in reversed(loops):
            self.k.close_loop(loop)
        self._finish(column_axis)

    def _columns(self) -> tuple[Local, Loop]:
        return self.k.open_loop("c", self.start, self.stop)

    def _fill(self, which: int) -> None:
        c, loop = self._columns()
        for node, rows in self.rows.items():
            value = reduction_start(self._combine(node), node.outputs[0].type.dtype)
            self.k.scopes[-1].statements.append(ScratchStore(rows[which], c, value))
        self.k.close_loop(loop)

    def _combine(self, node: Node) -> str:
        if not isinstance(node.op, Reduction):
            raise TypeError(f"'{node.op.name}' is no reduction.")
        return node.op.combine

    def _accumulate(self, column_axis: int) -> None:
        c, loop = self._columns()
        index = tuple(c if axis == column_axis else self.index[axis] for axis in range(len(self.plan.shape)))
        scalars = {node: self.k.element(node.inputs[0], index) for node in self.rows}
        outputs = enumerate(value for _, value in self.k.body.outputs)
        self.k.store([entry for entry in outputs if entry[1].type.shape == self.plan.shape], index)
        for node, rows in self.rows.items():
            self.k.scopes[-1].statements.append(ScratchStore(rows[1], c, scalars[node], self._combine(node)))
        self.k.close_loop(loop)

    def _add_block(self) -> None:
        c, loop = self._columns()
        for node, rows in self.rows.items():
            part = ScratchLoad(node.outputs[0].type.dtype, rows[1], c)
            self.k.scopes[-1].statements.append(ScratchStore(rows[0], c, part, self._combine(node)))
        self.k.close_loop(loop)

    def _finish(self, column_axis: int) -> None:
        c, loop = self._columns()
        kept = [axis for axis in range(len(self.plan.shape)) if axis not in self.plan.axes]
        index = tuple(c if axis == column_axis else self.index[axis] for axis in kept)
        for node, rows in self.rows.items():
            total = ScratchLoad(node.outputs[0].type.dtype, rows[0], c)
            self.k.given[node.outputs[0]] = _constant_reader(self.k.let(total))
        outputs = enumerate(value for _, value in self.k.body.outputs)
        self.k.store([entry for entry in outputs if entry[1].type.shape == self.plan.kept], index)
        self.k.close_loop(loop)


def prune(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """Drop scalars that nothing reads."""
    used: set[str] = set()

    def keep(block: Sequence[Statement]) -> list[Statement]:
        kept: list[Statement] = []
        for statement in reversed(block):
            if isinstance(statement, Let) and statement.target.name not in used:
                continue
            if isinstance(statement, Loop):
                statement.body[:] = keep(statement.body)
            used.update(name for expression in expressions_of(statement) for name in locals_of(expression))
            kept.append(statement)
        return kept[::-1]

    return tuple(keep(statements))


def _constant_reader(value: Expr) -> Callable[[Sequence[Expr]], Expr]:
    return lambda index: value


def _lower_contraction(body: Graph) -> ContractionKernel:
    """The tail of a contraction at one (row, column) of its result seen as a matrix."""
    node = next(n for n in body.nodes if n.op.fusion is Fusion.CONTRACTION)
    k = KernelLowering(body)
    row, outer = k.open_loop("row", BEGIN, END)
    column, inner = k.open_loop("column", literal(0, INDEX), literal(1, INDEX))
    finished = Local(node.outputs[0].type.dtype, "value", 2)
    k.given[node.outputs[0]] = _constant_reader(finished)
    shape = node.outputs[0].type.shape
    index = (*unflatten(k, shape[:-1], row), column)
    k.place(shape, index, row * k.extent(shape[-1]) + column)
    k.store(list(enumerate(value for _, value in body.outputs)), index)
    tail = prune([*outer.body, *inner.body])
    return ContractionKernel(
        k.operands(),
        node.op,
        (*(v.type for v in node.inputs), node.outputs[0].type),
        k.used_extents([*k.scopes[0].statements, *tail]),
        row,
        column,
        finished,
        tuple(k.scopes[0].statements),
        tail,
    )


