"""Maps whose elements are sums of segments, or rows that are put into a table.

    for item in segments:                                    one table row that the indices name
        for i in columns:  sums[i] = 0                       a private row
        for j in starts[item] .. starts[item + 1]:
            for i in columns:  sums[i] += updates[order[j], i]
        for i in columns:  table[rows[item], i] = table[rows[item], i] - rate * sums[i]

So the step of an optimizer costs what the rows with a gradient cost. Entries behind the last such row have no segment;
where all results are rows of tables, nothing is done for them. Rows longer than 2048 elements are cut into several work
items. Where the segments lie on the last axis, each sum is a loop of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.grouping import Plan
from compiler.ir import Graph, Node, Value
from compiler.loops import (
    BEGIN,
    END,
    INDEX,
    Accumulate,
    Expr,
    Let,
    Local,
    Loop,
    LoopKernel,
    ScratchLoad,
    ScratchStore,
    Store,
    binary,
    cast,
    literal,
    select,
)
from compiler.lowering import KernelLowering, accumulator_dtype, flat_index, unflatten
from compiler.ops.gather import Take
from compiler.ops.table_rows import PutRows, SegmentSum
from compiler.types import product
from runtime.dimensions import ceil_div

__all__ = ["has_rows", "lower_rows"]

LONGEST_ROW = 2048  # elements of a private row, which should stay in the first-level cache


def has_rows(body: Graph) -> bool:
    """Whether a group sums segments or puts rows into tables."""
    return any(isinstance(node.op, (PutRows, SegmentSum)) for node in body.nodes)


def lower_rows(k: KernelLowering, plan: Plan) -> LoopKernel:
    """A map over [.., segments, ..]; work items are pieces of its last axis."""
    rows = _Rows(k, plan)
    rows.write()
    return k.loop_kernel(rows.work)


class _Rows:
    """The loops of one item: the elements `start` to `stop` of the last axis, at the index `leading` of the others."""

    def __init__(self, k: KernelLowering, plan: Plan) -> None:
        self.k, self.shape = k, plan.shape
        self.sums = [node for node in k.body.nodes if isinstance(node.op, SegmentSum)]
        self.puts = [node for node in k.body.nodes if isinstance(node.op, PutRows)]
        last = self.shape[-1]
        self.width = last if isinstance(last, int) and last <= LONGEST_ROW else LONGEST_ROW
        self.pieces = ceil_div(last, max(self.width, 1))
        self.work = product((*self.shape[:-1], self.pieces))

    def write(self) -> None:
        """All loops, into the kernel."""
        k = self.k
        item, outer = k.open_loop("item", BEGIN, END)
        *leading, piece = unflatten(k, (*self.shape[:-1], self.pieces), item)
        self.leading = tuple(leading)
        self.start = k.let(piece * self.width) if self.pieces != 1 else literal(0, INDEX)
        stop = self._whole(piece)
        outputs = list(enumerate(value for _, value in k.body.outputs))
        plain = [(i, value) for i, value in outputs if not isinstance(value.op, PutRows)]
        puts = [(i, value.producer) for i, value in outputs if isinstance(value.op, PutRows)]
        row, guarded = self._named_row(stop)
        self._sum(stop if plain else guarded)
        if plain:
            self._elements(stop, lambda index: k.store(plain, index))
        if puts:
            self._read_row(row)
            self._elements(guarded, lambda index: self._put(puts, row, index))
        k.close_loop(outer)

    def _whole(self, piece: Expr) -> Expr:
        last = self.k.extent(self.shape[-1])
        if self.pieces == 1:
            return last
        return self.k.let(binary("minimum", self.k.let(piece * self.width) + self.width, last))

    def _named_row(self, stop: Expr) -> tuple[Expr, Expr]:
        """The table's row of the item, and where its elements end: at once if it is none.

        In a table of single elements each of these has a guard of its own.
        """
        if not self.puts or len(self.shape) == 1:
            return literal(0, INDEX), stop
        row, exists = self._row_at(self.leading[0])
        return row, self.k.let(select(exists, stop, self.start))

    def _row_at(self, entry: Expr) -> tuple[Expr, Expr]:
        k = self.k
        table, _, rows = self.puts[0].inputs
        row = k.let(cast(k.element(rows, (entry,)), INDEX))
        return row, (row >= 0) & (row < k.extent(table.type.shape[0]))

    def _read_row(self, row: Expr) -> None:
        """Where the row exists, what `take` reads of X."""
        if len(self.shape) == 1:
            return
        for node in self.k.body.nodes:
            if isinstance(node.op, Take) and node.op.axis == 0 and node.inputs[1] is self.puts[0].inputs[2]:
                self.k.given[node.outputs[0]] = self._row_reader(node.inputs[0], row)

    def _row_reader(self, table: Value, row: Expr) -> Callable[[Sequence[Expr]], Expr]:
        return lambda index: self.k.element(table, (row, *index[1:]))

    def _elements(self, stop: Expr, write: Callable[[tuple[Expr, ...]], None]) -> None:
        k = self.k
        i, loop = k.open_loop("i", self.start, stop)
        for node in self.sums:
            if node.op.fields["axis"] == len(self.shape) - 1:
                k.given[node.outputs[0]] = _constant(self._own_sum(node, i))
        write((*self.leading, i))
        k.close_loop(loop)

    def _put(self, puts: Sequence[tuple[int, Node]], row: Expr, index: tuple[Expr, ...]) -> None:
        """Everything is computed before anything is stored: tables are changed in place."""
        k = self.k
        scalars = [k.element(node.inputs[1], index) for _, node in puts]
        guard: Loop | None = None
        if len(self.shape) == 1:
            row, exists = self._row_at(index[0])
            once, guard = k.open_loop("once", literal(0, INDEX), select(exists, literal(1, INDEX), literal(0, INDEX)))
            row = row + once
        for (position, node), scalar in zip(puts, scalars, strict=True):
            flat = flat_index(k, node.outputs[0].type.shape, (row, *index[1:]))
            k.scopes[-1].statements.append(Store(k.numbers[len(k.body.inputs) + position], flat, scalar))
        if guard is not None:
            k.close_loop(guard)

    # Sums of segments.

    def _bounds(self, node: Node, segment: Expr) -> tuple[Expr, Expr]:
        k, starts = self.k, node.inputs[2]
        first = k.let(cast(k.element(starts, (segment,)), INDEX))
        return first, k.let(cast(k.element(starts, (k.let(segment + 1),)), INDEX))

    def _sum(self, stop: Expr) -> None:
        """Add up the updates of the item's segment in private rows."""
        k = self.k
        nodes = [node for node in self.sums if node.op.fields["axis"] < len(self.shape) - 1]
        if not nodes:
            return
        axis = nodes[0].op.fields["axis"]
        rows = [self._new_row(node) for node in nodes]
        i, loop = k.open_loop("i", self.start, stop)
        for row, dtype in rows:
            k.scopes[-1].statements.append(ScratchStore(row, self._place(i), literal(0, dtype)))
        k.close_loop(loop)
        j, segment = k.open_loop("j", *self._bounds(nodes[0], self.leading[axis]))
        position = k.let(cast(k.element(nodes[0].inputs[1], (j,)), INDEX))
        i, loop = k.open_loop("i", self.start, stop)
        for node, (row, dtype) in zip(nodes, rows, strict=True):
            index = (*self.leading[:axis], position, *self.leading[axis + 1 :], i)
            update = cast(k.element(node.inputs[0], index), dtype)
            k.scopes[-1].statements.append(ScratchStore(row, self._place(i), update, "add"))
        k.close_loop(loop)
        k.close_loop(segment)
        for node, (row, dtype) in zip(nodes, rows, strict=True):
            k.given[node.outputs[0]] = self._reader(row, dtype, node.outputs[0])

    def _new_row(self, node: Node) -> tuple[int, str]:
        dtype = accumulator_dtype("add", node.outputs[0].type.dtype)
        self.k.scratch_rows.append((dtype, self.width))
        return len(self.k.scratch_rows) - 1, dtype

    def _place(self, i: Expr) -> Expr:
        return i - self.start

    def _reader(self, row: int, dtype: str, value: Value) -> Callable[[Sequence[Expr]], Expr]:
        return lambda index: cast(self.k.let(ScratchLoad(dtype, row, self._place(index[-1]))), value.type.dtype)

    def _own_sum(self, node: Node, segment: Expr) -> Expr:
        """The sum of one segment of the last axis, in the innermost loop."""
        k = self.k
        dtype = accumulator_dtype("add", node.outputs[0].type.dtype)
        total = Local(dtype, k.fresh("total"), len(k.scopes) - 1)
        first, end = self._bounds(node, segment)
        k.scopes[-1].statements.append(Let(total, literal(0, dtype)))
        j, loop = k.open_loop("j", first, end)
        position = k.let(cast(k.element(node.inputs[1], (j,)), INDEX))
        update = cast(k.element(node.inputs[0], (*self.leading, position)), dtype)
        k.scopes[-1].statements.append(Accumulate(total, "add", update))
        k.close_loop(loop)
        return cast(total, node.outputs[0].type.dtype)


def _constant(value: Expr) -> Callable[[Sequence[Expr]], Expr]:
    return lambda index: value
