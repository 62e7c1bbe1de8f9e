"""Column reductions: sums over leading axes, all columns of an item open at once in private scratch rows.

A kernel runs in *stages*. The first takes the reductions that need no other's result, the next those that need the
first ones' (squares of distances from the mean), and so on; each is one pass over the item's elements, which after
the first pass lie in the cache. Results that later stages repeat along the rows wait in scratch rows too. Elements
that the kernel stores are stored by the last pass, so that a result may take the memory of an operand that
earlier passes read.

Rows are summed in blocks before they are added to the total, which keeps float32 sums accurate (the error grows with
the length of a block plus the number of blocks, not with their product), and several rows at a time, so that a loop
over few columns is not all overhead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.grouping import Plan, read_through_clones
from compiler.ir import Fusion, Node, Value
from compiler.loops import INDEX, Expr, ScratchLoad, ScratchStore, binary, call, cast, literal, reduction_start
from compiler.lowering import KernelLowering, accumulator_dtype, unflatten
from compiler.ops.reduce import Reduction
from compiler.ops.shape import Broadcast
from compiler.types import product
from runtime.dimensions import Dim

ROW_BLOCK = 64  # rows summed before they are added to the total: keeps float32 sums accurate
ROWS_TOGETHER = 4  # rows added to the scratch row at a time
MOST_NODES_TOGETHER = 16  # a larger body has work enough in one row


def outer_axes(plan: Plan) -> tuple[int, ...]:
    """Axes before the last reduced one that are kept: each of their entries is an item of work."""
    return tuple(axis for axis in range(max(plan.axes)) if axis not in plan.axes)


def lower_items(k: KernelLowering, plan: Plan, begin: Expr, end: Expr) -> Dim:
    """All passes for the items from `begin` to `end` of those that the outer axes have; returns how many there are."""
    axes = outer_axes(plan)
    extents = tuple(plan.shape[axis] for axis in axes)
    item, loop = k.open_loop("item", begin, end)
    index: dict[int, Expr] = dict(zip(axes, unflatten(k, extents, item), strict=True))
    ColumnPass(k, plan, index, literal(0, INDEX), k.extent(product(trailing(plan)))).run()
    k.close_loop(loop)
    return product(extents)


def trailing(plan: Plan) -> tuple[Dim, ...]:
    """Extents of the columns' axes."""
    return plan.shape[max(plan.axes) + 1 :]


class ColumnPass:
    """The passes over one item: `start` to `stop` of the columns, the axes of `index` fixed."""

    def __init__(self, k: KernelLowering, plan: Plan, index: dict[int, Expr], start: Expr, stop: Expr) -> None:
        self.k, self.plan, self.index = k, plan, index
        self.tail = tuple(range(max(plan.axes) + 1, len(plan.shape)))
        self.start, self.stop = start, stop
        self.kept_axes = [axis for axis in range(len(plan.shape)) if axis not in plan.axes]
        self.columns = product(trailing(plan))
        self.column: Expr = start  # of the innermost loop over columns
        self.level = levels(k.body.nodes)
        self.rows: dict[Node, tuple[int, int]] = {}
        for node in self._reductions():
            dtype = _accumulator(node)
            self.rows[node] = (self._scratch_row(dtype), self._scratch_row(dtype))
        outputs = list(enumerate(value for _, value in k.body.outputs))
        self.elements = [entry for entry in outputs if entry[1].type.shape == plan.shape]
        self.results = [entry for entry in outputs if entry[1].type.shape != plan.shape]

    def run(self) -> None:
        """Emit all stages."""
        last = max(self.level[node] for node in self.rows)
        late = any(self._level_of(value) >= last for _, value in self.elements)
        for stage in range(last):
            nodes = [node for node in self.rows if self.level[node] == stage + 1]
            self._fill(nodes, 0)
            self._walk(nodes, self.elements if stage + 1 == last and not late else [])
            self._finish(nodes, stage + 1)
        if late:
            self._walk([], self.elements)
        if self.results:
            self._columns(self._store_results)

    def _reductions(self) -> list[Node]:
        return [node for node in self.k.body.nodes if node.op.fusion is Fusion.REDUCTION]

    def _level_of(self, value: Value) -> int:
        return 0 if value.node is None else self.level[value.node]

    def _scratch_row(self, dtype: str) -> int:
        self.k.scratch_rows.append((dtype, self.columns))
        return len(self.k.scratch_rows) - 1

    def _columns(self, body: Callable[[], None]) -> None:
        """A loop over the item's columns."""
        self.column, loop = self.k.open_loop("c", self.start, self.stop)
        body()
        self.k.close_loop(loop)

    def _fill(self, nodes: Sequence[Node], which: int) -> None:
        def body() -> None:
            for node in nodes:
                value = reduction_start(_combine(node), _accumulator(node))
                self._put(self.rows[node][which], value)

        if nodes:
            self._columns(body)

    def _put(self, row: int, value: Expr, combine: str | None = None) -> None:
        self.k.scopes[-1].statements.append(ScratchStore(row, self.column, value, combine))

    def _walk(self, nodes: Sequence[Node], elements: Sequence[tuple[int, Value]]) -> None:
        """One pass over the item's elements, block of rows by block of rows."""
        k, reduced = self.k, sorted(self.plan.axes)
        loops = []
        for axis in reduced[:-1]:
            self.index[axis], loop = k.open_loop("r", literal(0, INDEX), k.extent(self.plan.shape[axis]))
            loops.append(loop)
        size = k.extent(self.plan.shape[reduced[-1]])
        first, blocks = k.open_loop("block", literal(0, INDEX), size, ROW_BLOCK)
        self._fill(nodes, 1)
        last = k.let(binary("minimum", first + ROW_BLOCK, size))
        together = ROWS_TOGETHER if nodes and len(k.body.nodes) <= MOST_NODES_TOGETHER else 1
        middle: Expr = first
        if together > 1:
            middle = k.let(last - call("index_remainder", last - first, literal(together, INDEX)))
            self._rows(reduced[-1], first, middle, together, nodes, elements)
        self._rows(reduced[-1], middle, last, 1, nodes, elements)
        if nodes:
            self._columns(lambda: self._add_block(nodes))
        for loop in (blocks, *reversed(loops)):
            k.close_loop(loop)

    def _rows(
        self,
        axis: int,
        first: Expr,
        last: Expr,
        together: int,
        nodes: Sequence[Node],
        elements: Sequence[tuple[int, Value]],
    ) -> None:
        """A loop over rows, some at a time."""
        row, loop = self.k.open_loop("r", first, last, together)
        indices = [self.k.let(row + i) for i in range(together)]
        self._columns(lambda: self._accumulate(axis, indices, nodes, elements))
        self.k.close_loop(loop)

    def _accumulate(
        self, axis: int, rows: Sequence[Expr], nodes: Sequence[Node], elements: Sequence[tuple[int, Value]]
    ) -> None:
        parts: dict[Node, list[Expr]] = {node: [] for node in nodes}
        places = []
        for row in rows:
            self.index[axis] = row
            places.append(self._at(range(len(self.plan.shape))))
            for node in nodes:
                scalar = self.k.element(node.inputs[0], places[-1])
                parts[node].append(cast(scalar, _accumulator(node)))
        for place in places:
            self.k.store(elements, place)
        for node, scalars in parts.items():
            self._put(self.rows[node][1], _joined(_combine(node), scalars), _combine(node))

    def _at(self, axes: Sequence[int]) -> tuple[Expr, ...]:
        """The index along `axes` in a column. `collapse` leaves one trailing axis wherever it applies."""
        extents = tuple(self.plan.shape[axis] for axis in self.tail)
        index = self.index | dict(zip(self.tail, unflatten(self.k, extents, self.column), strict=True))
        return tuple(index[axis] for axis in axes)

    def _add_block(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            total, block = self.rows[node]
            self._put(total, ScratchLoad(_accumulator(node), block, self.column), _combine(node))

    def _finish(self, nodes: Sequence[Node], level: int) -> None:
        """Make the results of a stage known, and keep those that later passes repeat along the rows."""
        for node in nodes:
            self.k.given[node.outputs[0]] = self._reader(self.rows[node][0], _accumulator(node), node.outputs[0])
        repeated = {
            node.inputs[0]: None
            for node in self.k.body.nodes
            if isinstance(node.op, Broadcast) and self._level_of(node.inputs[0]) == level
        }
        if not repeated:
            return
        rows = {value: self._scratch_row(value.type.dtype) for value in repeated}

        def body() -> None:
            for value, row in rows.items():
                self._put(row, self.k.element(value, self._at(self.kept_axes)))

        self._columns(body)
        for value, row in rows.items():
            self.k.given[value] = self._reader(row, value.type.dtype, value)

    def _reader(self, row: int, dtype: str, value: Value) -> Callable[[Sequence[Expr]], Expr]:
        """Reads a result of the column that the innermost loop is at: no other is ever asked for."""
        return lambda index: self.k.let(cast(ScratchLoad(dtype, row, self.column), value.type.dtype))

    def _store_results(self) -> None:
        self.k.store(self.results, self._at(self.kept_axes))


def levels(nodes: Sequence[Node]) -> dict[Node, int]:
    """For each node of a body how many reductions one needs after another to compute it."""
    level: dict[Node, int] = {}
    for node in nodes:
        below = max((level.get(v.node, 0) for v in read_through_clones(node) if v.node is not None), default=0)
        level[node] = below + (1 if node.op.fusion is Fusion.REDUCTION else 0)
    return level


def _joined(combine: str, scalars: Sequence[Expr]) -> Expr:
    """All scalars combined, in pairs."""
    if len(scalars) == 1:
        return scalars[0]
    half = len(scalars) // 2
    return call(combine, _joined(combine, scalars[:half]), _joined(combine, scalars[half:]))


def _combine(node: Node) -> str:
    if not isinstance(node.op, Reduction):
        raise TypeError(f"'{node.op.name}' is no reduction.")
    return node.op.combine


def _accumulator(node: Node) -> str:
    return accumulator_dtype(_combine(node), node.outputs[0].type.dtype)
