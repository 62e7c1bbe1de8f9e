"""The kernels that sort indices by row: a radix sort, in time proportional to the indices.

One work item: indices are 4 or 8 bytes each and are read three times, the rows that are added up afterwards by many
threads are hundreds of bytes each. Digits have at most 11 bits, so that their 2048 counters stay in the first-level
cache; a table of up to 2047 rows takes one pass, of up to 4 million two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from compiler.loops import (
    BEGIN,
    END,
    INDEX,
    Accumulate,
    Expr,
    Extent,
    Let,
    Load,
    Local,
    Loop,
    LoopKernel,
    Operand,
    ScratchLoad,
    ScratchStore,
    Statement,
    Store,
    call,
    cast,
    literal,
    select,
)
from compiler.lowering import RUN_TIME_EXTENT
from compiler.types import TensorType
from runtime.dimensions import Dim

__all__ = ["sorted_rows_kernel", "touched_rows_kernel"]

MOST_BITS = 11
POSITION = "int32"
INDICES, ORDER, STARTS, ROWS = range(4)  # operands
COUNTS, FIRST_SPARE = 0, 1  # private rows: how often each digit occurs, positions between two passes


def sorted_rows_kernel(indices: TensorType, extent: Dim) -> LoopKernel:
    """The kernel of `sorted_rows`."""
    s = _Sort(indices, extent)
    with s.item():
        inside = s.sort()
        row = s.let("next_row", literal(0, INDEX))
        with s.loop("j", inside) as j:
            key = s.let("key", s.key(s.position(ORDER, j)))
            with s.loop("v", key + 1, row) as v:
                s.store(STARTS, v, j)
            s.add(Accumulate(row, "maximum", key + 1))
        with s.loop("v", s.size(extent) + 1, row) as v:
            s.store(STARTS, v, inside)
    return s.kernel(2)


def touched_rows_kernel(indices: TensorType, extent: Dim) -> LoopKernel:
    """The kernel of `touched_rows`."""
    s = _Sort(indices, extent)
    with s.item():
        inside = s.sort()
        count = s.let("count", literal(0, INDEX))
        with s.loop("j", inside) as j:
            key = s.let("key", s.key(s.position(ORDER, j)))
            before = s.let("before", s.key(s.position(ORDER, call("maximum", j - 1, literal(0, INDEX)))))
            fresh = (before < key) | j.equals(0)
            with s.loop("once", select(fresh, literal(1, INDEX), literal(0, INDEX))):
                s.store(ROWS, count, key)
                s.store(STARTS, count, j)
                s.add(Accumulate(count, "add", literal(1, INDEX)))
        with s.loop("k", s.count, count) as k:
            s.store(ROWS, k, s.size(extent))
            s.store(STARTS, k, inside)
        s.store(STARTS, s.count, inside)
    return s.kernel(3)


class _Sort:
    """Writes the loops; `count` is how many indices there are."""

    def __init__(self, indices: TensorType, extent: Dim) -> None:
        self.indices, self.extent = indices, extent
        self.extents: list[Dim] = []
        self.names: dict[str, int] = {}
        self.blocks: list[list[Statement]] = [[]]
        self.count = self.size(indices.shape[0])
        bits = extent.bit_length() if isinstance(extent, int) else 32  # rows are 0 to extent, which stands for none
        self.passes = max(1, -(-bits // MOST_BITS))
        self.bits = -(-bits // self.passes)

    # What statements are made of.

    def size(self, dim: Dim) -> Expr:
        if isinstance(dim, int) and dim < RUN_TIME_EXTENT:
            return literal(dim, INDEX)
        if dim not in self.extents:
            self.extents.append(dim)
        return Extent(INDEX, dim)

    def local(self, stem: str) -> Local:
        number = self.names[stem] = self.names.get(stem, -1) + 1
        return Local(INDEX, f"{stem}{number}", len(self.blocks))

    def add(self, statement: Statement) -> None:
        self.blocks[-1].append(statement)

    def let(self, stem: str, value: Expr) -> Local:
        name = self.local(stem)
        self.add(Let(name, value))
        return name

    def store(self, operand: int, index: Expr, value: Expr) -> None:
        self.add(Store(operand, index, cast(value, POSITION)))

    @contextlib.contextmanager
    def loop(self, stem: str, stop: Expr, start: Expr | None = None) -> Iterator[Local]:
        index = self.local(stem)
        loop = Loop(index, literal(0, INDEX) if start is None else start, stop, [])
        self.blocks.append(loop.body)
        yield index
        self.blocks.pop()
        self.add(loop)

    @contextlib.contextmanager
    def item(self) -> Iterator[None]:
        with self.loop("item", END, BEGIN):
            yield

    # The sort.

    def key(self, position: Expr) -> Expr:
        """The row that the index at a position names; `extent` for none."""
        extent = self.size(self.extent)
        index = self.let("index", cast(Load(self.indices.dtype, INDICES, position), INDEX))
        row = self.let("row", select(index < 0, index + extent, index))
        return select((row >= 0) & (row < extent), row, extent)

    def position(self, operand: int, j: Expr) -> Expr:
        return self.let("position", cast(Load(POSITION, operand, j), INDEX))

    def sort(self) -> Local:
        """Write the positions, sorted by row, to ORDER; returns how many belong to a row."""
        inside = self.let("inside", literal(0, INDEX))
        for number in range(self.passes):
            source = None if number == 0 else FIRST_SPARE + (number - 1) % 2
            target = None if number == self.passes - 1 else FIRST_SPARE + number % 2
            self._count_digits(number, source, inside)
            self._place_positions(number, source, target)
        return inside

    def _read(self, source: int | None, j: Expr) -> Expr:
        if source is None:
            return j
        return self.let("position", cast(ScratchLoad(POSITION, source, j), INDEX))

    def _digit(self, number: int, key: Expr) -> Expr:
        shifted = call("index_floor_divide", key, literal(1 << (number * self.bits), INDEX)) if number else key
        return self.let("digit", call("index_remainder", shifted, literal(1 << self.bits, INDEX)))

    def _count_digits(self, number: int, source: int | None, inside: Local) -> None:
        """Afterwards COUNTS has, for each digit, how many positions have a smaller one."""
        bins = literal(1 << self.bits, INDEX)
        with self.loop("d", bins) as d:
            self.add(ScratchStore(COUNTS, d, literal(0, INDEX)))
        with self.loop("j", self.count) as j:
            key = self.let("key", self.key(self._read(source, j)))
            self.add(ScratchStore(COUNTS, self._digit(number, key), literal(1, INDEX), "add"))
            if number == 0:
                has_row = key < self.size(self.extent)
                self.add(Accumulate(inside, "add", select(has_row, literal(1, INDEX), literal(0, INDEX))))
        total = self.let("total", literal(0, INDEX))
        with self.loop("d", bins) as d:
            found = self.let("found", ScratchLoad(INDEX, COUNTS, d))
            self.add(ScratchStore(COUNTS, d, total))
            self.add(Accumulate(total, "add", found))

    def _place_positions(self, number: int, source: int | None, target: int | None) -> None:
        with self.loop("j", self.count) as j:
            position = self._read(source, j)
            digit = self._digit(number, self.let("key", self.key(position)))
            place = self.let("place", ScratchLoad(INDEX, COUNTS, digit))
            self.add(ScratchStore(COUNTS, digit, place + 1))
            if target is None:
                self.store(ORDER, place, position)
            else:
                self.add(ScratchStore(target, place, cast(position, POSITION)))

    def kernel(self, results: int) -> LoopKernel:
        """What has been written, as a kernel."""
        operands = (Operand(self.indices.dtype, False), *[Operand(POSITION, True)] * results)
        spare = [(POSITION, self.indices.shape[0])] * min(2, self.passes - 1)
        rows = ((INDEX, 1 << self.bits), *spare)
        return LoopKernel(operands, tuple(self.extents), 1, tuple(self.blocks[0]), rows)
