"""Rows of a table by number: which numbers there are, sums of what belongs to each, and rows written back in place.

`scatter_add` says what an embedding's gradient is; the pass `touch_rows` makes these ops of it for the CPU:

    %order, %starts, %rows = touched_rows(%indices)      the positions, sorted by row; where each row's begin
    %sums = segment_sum(%updates, %order, %starts)       one sum for each row that is named
    %new = put_rows(%table, %changed, %rows)             the table, in its own memory, with these rows replaced

Positions of one row keep their order, so that a sum is the same bits however the work is divided.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir import Array, Fusion
from compiler.ops.checks import (
    concrete,
    require_dtype,
    require_equal_extents,
    require_inputs,
    require_rank,
    require_same_dtype,
)
from compiler.ops.families import Late
from compiler.ops.registry import op
from compiler.types import TensorType
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.loops import LoopKernel

__all__ = ["PutRows", "SegmentSum", "SortedRows", "TouchedRows"]


def _sorted_positions(indices: Array, extent: int) -> tuple[Array, Array]:
    """Positions of the indices that lie in the axis, by row and then by position, and their rows."""
    wide = indices.astype("int64")
    rows = np.where(wide < 0, wide + extent, wide)
    inside = (rows >= 0) & (rows < extent)
    order = np.argsort(np.where(inside, rows, extent), kind="stable")
    return order.astype("int32"), rows[order][: np.count_nonzero(inside)]


def _check_indices(name: str, inputs: Sequence[TensorType]) -> Dim:
    require_inputs(name, inputs, 1)
    require_rank(name, inputs[0], 1, "indices")
    require_dtype(name, inputs[0], "integer", "indices")
    return inputs[0].shape[0]


@op
class SortedRows(Late):
    """indices[n] -> (positions sorted by row [n], where those of each row begin [extent + 1]), both int32.

    Indices -extent to -1 count from the end; others outside belong to no row and their positions come last.
    """

    extent: Dim

    fusion = Fusion.WHOLE

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """One position for each index; one row more than there are, for the end."""
        count = _check_indices(self.name, inputs)
        return TensorType((count,), "int32"), TensorType((self.extent + 1,), "int32")

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """A stable sort."""
        (extent,) = concrete((self.extent,))
        order, rows = _sorted_positions(inputs[0], extent)
        return order, np.searchsorted(rows, np.arange(extent + 1)).astype("int32")

    def loop_kernel(self, types: Sequence[TensorType]) -> LoopKernel:
        """A radix sort."""
        from compiler.sorting import sorted_rows_kernel  # loops are written when a kernel is made

        return sorted_rows_kernel(types[0], self.extent)


@op
class TouchedRows(Late):
    """indices[n] -> (positions sorted by row [n], where those of each begin [n + 1], the rows [n]), all int32.

    The rows that occur come first, in ascending order, each once. Behind them `rows` is `extent`, no row, and no
    position belongs to these entries. Indices are read as by `sorted_rows`.
    """

    extent: Dim

    fusion = Fusion.WHOLE

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """There are at most as many rows as indices."""
        count = _check_indices(self.name, inputs)
        return TensorType((count,), "int32"), TensorType((count + 1,), "int32"), TensorType((count,), "int32")

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """A stable sort."""
        (extent,) = concrete((self.extent,))
        order, found = _sorted_positions(inputs[0], extent)
        unique, first = np.unique(found, return_index=True)
        starts = np.full(order.size + 1, found.size, "int32")
        starts[: unique.size] = first
        rows = np.full(order.size, extent, "int32")
        rows[: unique.size] = unique
        return order, starts, rows

    def loop_kernel(self, types: Sequence[TensorType]) -> LoopKernel:
        """A radix sort."""
        from compiler.sorting import touched_rows_kernel  # loops are written when a kernel is made

        return touched_rows_kernel(types[0], self.extent)


@op
class SegmentSum(Late):
    """(updates, order[n], starts[count + 1]) -> sums over parts of an axis of n: [.., count, ..].

    Entry s is the sum of the updates order[starts[s]], order[starts[s] + 1], .. before starts[s + 1], in this order.
    """

    axis: int
    count: Dim

    fusion = Fusion.WINDOW

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The shape of the updates with `count` along the axis."""
        require_inputs(self.name, inputs, 3)
        updates, order, starts = inputs
        require_dtype(self.name, updates, "number", "updates")
        require_rank(self.name, updates, self.axis + 1, "updates", at_least=True)
        for what, type_ in (("order", order), ("starts", starts)):
            require_dtype(self.name, type_, "integer", what)
            require_rank(self.name, type_, 1, what)
        require_equal_extents(self.name, f"{updates} and order {order}", updates.shape[self.axis], order.shape[0])
        require_equal_extents(self.name, f"starts {starts} and count + 1", starts.shape[0], self.count + 1)
        return (updates.with_shape(*updates.shape[: self.axis], self.count, *updates.shape[self.axis + 1 :]),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Segment by segment, in the same order."""
        updates, order, starts = inputs
        rows = np.moveaxis(updates, self.axis, 0)
        sums = np.zeros((starts.size - 1, *rows.shape[1:]), updates.dtype)
        for segment, (begin, end) in enumerate(itertools.pairwise(starts)):
            for position in order[begin:end]:
                sums[segment] += rows[position]
        return (np.ascontiguousarray(np.moveaxis(sums, 0, self.axis)),)


@op
class PutRows(Late):
    """(x, new, rows) -> x with `new[k]` as its row `rows[k]`; rows are distinct, those outside are dropped.

    The result takes the memory of x: only the rows named are written (`compiler.passes.schedule` makes a copy of x
    where its old value is needed). Nothing else in the kernel reads x, but by `take` of the same rows.
    """

    fusion = Fusion.WINDOW

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The type of x."""
        require_inputs(self.name, inputs, 3)
        x, new, rows = inputs
        require_rank(self.name, x, 1, "x", at_least=True)
        require_same_dtype(self.name, x, new)
        require_dtype(self.name, rows, "integer", "rows")
        require_rank(self.name, rows, 1, "rows")
        if (rows.shape[0], *x.shape[1:]) != new.shape:
            raise ValueError(f"{self.name}: rows of {x} must be new. Received: new {new} and rows {rows}")
        return (x,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's assignment to rows of a copy."""
        x, new, rows = inputs
        inside = (rows >= 0) & (rows < x.shape[0])
        result = x.copy()
        result[rows[inside]] = new[inside]
        return (result,)
