"""Reading elements at positions: indexing, slices, gathers, one-hot vectors, order."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler import functions as f
from compiler.ir import Builder, Value
from compiler.ops.gather import Take
from compiler.types import is_float
from graphcore.dtype_policies import standardize_dtype
from graphcore.ops.dispatch import Nested, Tensor, operation
from graphcore.ops.keras_class import keras_class
from graphcore.tensor import KerasTensor
from graphcore.tracing import as_array
from graphcore.variable import Variable
from runtime.dimensions import SymbolicInt


@keras_class("numpy")
@operation
def get_item(b: Builder, x: Tensor, key: Nested) -> Value:
    """`x[key]` with integers, slices, None, Ellipsis and at most one integer array.

    Raises:
        IndexError: for too many indices or an integer beyond its axis.
        TypeError: for any other index, boolean masks among them.
    """
    items = list(key) if isinstance(key, tuple) else [key]
    wanted = [item for item in items if item is not None and item is not Ellipsis]
    if len(wanted) > x.type.rank:
        raise IndexError(f"Too many indices ({len(wanted)}) for a tensor of {x.type.rank} axes. Received: {x.type}")
    ellipses = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError("An index can only have a single ellipsis ('...').")
    place = ellipses[0] if ellipses else len(items)
    items[place : place + 1] = [builtins.slice(None)] * (x.type.rank - len(wanted))
    axis = 0
    for item in items:
        x, axis = _indexed(b, x, axis, item)
    return x  # type: ignore[no-any-return]


def _indexed(b: Builder, x: Value, axis: int, item: Any) -> tuple[Value, int]:
    """One index applied to one axis; also the axis that the next index applies to."""
    if item is None:
        return f.expand_dims(b, x, axis), axis + 1
    if isinstance(item, builtins.slice):
        bounds = (item.start, item.stop, 1 if item.step is None else item.step)
        if any(isinstance(bound, (Value, KerasTensor, Variable)) for bound in bounds):
            raise TypeError(
                "The bounds of a slice must be integers or sizes, since shapes are fixed when a program is compiled. "
                "Fix: ops.slice(x, start, shape) takes tensors as start."
            )
        start, stop = (bound if bound is None or isinstance(bound, SymbolicInt) else int(bound) for bound in bounds[:2])
        return f.slice_axis(b, x, axis, start, stop, int(bounds[2])), axis + 1
    if isinstance(item, (Value, list, np.ndarray)):
        indices = item if isinstance(item, Value) else f.constant(b, as_array(item))
        if indices.type.dtype == "bool" or is_float(indices.type.dtype):
            raise TypeError(
                f"A tensor index must hold integers. Received: {indices.type}. Fix: for a mask use "
                f"ops.where(mask, x, 0)."
            )
        return f.take(b, x, indices, axis), axis + indices.type.rank
    return _at(b, x, axis, item), axis


def _at(b: Builder, x: Value, axis: int, item: Any) -> Value:
    extent = x.type.shape[axis]
    if isinstance(item, (bool, np.bool_)) or not (hasattr(item, "__index__") or isinstance(item, SymbolicInt)):
        raise TypeError(f"A tensor is indexed by integers, slices, None, ... and integer tensors. Received: {item!r}")
    if isinstance(item, SymbolicInt):
        return f.squeeze(b, f.slice_axis_exact(b, x, axis, item, item + 1), axis)
    index = int(item)
    if isinstance(extent, int) and not -extent <= index < extent:
        raise IndexError(f"Index {index} is out of bounds for axis {axis} with extent {extent}. Received: {x.type}")
    first = index + extent if index < 0 else index
    return f.squeeze(b, f.slice_axis_exact(b, x, axis, first, first + 1), axis)


@keras_class("numpy", "axis")
@operation
def take(b: Builder, x: Tensor, indices: Tensor, axis: int | None = None) -> Value:
    """Slices of x at integer positions along an axis (None: of the flattened tensor)."""
    if axis is None:
        x, axis = f.reshape(b, x, (-1,)), 0
    return f.take(b, x, _integers(b, indices), axis)


def _integers(b: Builder, indices: Any) -> Value:
    """Positions as integers; a Python number is one position."""
    if not isinstance(indices, Value):
        return f.constant(b, np.asarray(indices, np.int32))
    return f.cast(b, indices, "int32") if is_float(indices.type.dtype) else indices


@keras_class("numpy", "axis")
@operation
def take_along_axis(b: Builder, x: Tensor, indices: Tensor, axis: int | None = None) -> Value:
    """x[..., indices[..., i, ...], ...]: indices have x's shape but along the axis.

    Indices outside the axis give what they give in `take`, NaN or a number that cannot be overlooked. Compares the
    indices with every position of the axis, which costs extent operations per result.
    """
    if axis is None:
        x, axis = f.reshape(b, x, (-1,)), 0
    axis = f.normalize_axis(axis, x.type.rank)
    indices = _integers(b, indices)
    extent = x.type.shape[axis]
    wrapped = f.where(b, f.less(b, indices, 0), f.add(b, indices, f.dimension(b, extent, indices.type.dtype)), indices)
    moved = f.move_axis(b, x, axis, -1)  # [..., extent]
    chosen = f.move_axis(b, wrapped, axis, -1)  # [..., count]
    shape = (*f.broadcast_shapes(moved.type.shape[:-1], chosen.type.shape[:-1]), chosen.type.shape[-1], extent)
    position = f.iota(b, shape, len(shape) - 1, indices.type.dtype)
    same = f.equal(b, position, f.expand_dims(b, chosen, -1))
    spread = f.expand_dims(b, moved, -2)
    zero: Any = False if x.type.dtype == "bool" else 0
    picked = f.where(b, same, f.broadcast_to(b, spread, shape), zero)
    result = f.any_(b, picked, -1) if x.type.dtype == "bool" else f.reduce_sum(b, picked, -1)
    end = f.dimension(b, extent, indices.type.dtype)
    inside = f.logical_and(b, f.greater_equal(b, chosen, 0), f.less(b, chosen, end))
    inside = f.broadcast_to(b, inside, shape[:-1])
    outside = Take(axis=axis).value_outside(x.type.dtype)
    return f.move_axis(b, f.where(b, inside, f.cast(b, result, x.type.dtype), outside), -1, axis)


@keras_class("core", "shape")
@operation
def slice(b: Builder, inputs: Tensor, start_indices: Nested, shape: Sequence[Any]) -> Value:
    """A block of the given shape that begins at these positions.

    Positions may be tensors; such a block is gathered.
    """
    x = inputs
    starts = start_indices
    if isinstance(starts, Value):
        starts = [f.squeeze(b, f.slice_axis_exact(b, starts, 0, i, i + 1), 0) for i in range(x.type.rank)]
    for axis, (start, extent) in enumerate(zip(starts, shape, strict=True)):
        if isinstance(start, Value):
            x = f.take(b, x, f.add(b, f.iota(b, (extent,), 0, start.type.dtype), start), axis)
        else:
            stop = x.type.shape[axis] if isinstance(extent, int) and extent == -1 else start + extent
            x = f.slice_axis_exact(b, x, axis, start, stop)
    return x  # type: ignore[no-any-return]


@keras_class("nn", "num_classes axis dtype sparse")
@operation
def one_hot(b: Builder, x: Tensor, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Value:
    """A new axis with 1 at the position x names and 0 elsewhere; all 0 for a position outside."""
    if sparse:
        raise ValueError("ops.one_hot: sparse tensors are not supported. Fix: leave out `sparse`.")
    return f.one_hot(b, x, num_classes, standardize_dtype(dtype), axis)


@keras_class("nn", "num_classes axis dtype sparse")
@operation
def multi_hot(
    b: Builder, inputs: Tensor, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Value:
    """1 at every position that is named: the one-hot vectors of `inputs`, in a new axis, joined along axis 1.

    Args:
        inputs: integers, [batch, names, ...], or [names], which are joined along axis 0.
        num_classes: extent of the new axis.
        axis: where it comes before axis 1 is joined.
        dtype: of the result.
        sparse: must be False.
    """
    if sparse:
        raise ValueError("ops.multi_hot: sparse tensors are not supported. Fix: leave out `sparse`.")
    hot = f.one_hot(b, _integers(b, inputs), num_classes, standardize_dtype(dtype), axis)
    return f.reduce_max(b, hot, 0 if inputs.type.rank == 1 else 1)


# -- order -------------------------------------------------------------------------------------------------


def _precedes(b: Builder, x: Value, descending: bool) -> Value:
    """[..., i, j]: whether element j stands before element i in sorted order; equal ones keep their order.

    NaN stands last, as in NumPy, and False before True.
    """
    x = f.cast(b, x, "int8") if x.type.dtype == "bool" else x
    shape = (*x.type.shape, x.type.shape[-1])
    rank = len(shape)
    this = f.broadcast_in(b, x, shape, tuple(range(rank - 1)))
    other = f.broadcast_in(b, x, shape, (*range(rank - 2), rank - 1))
    ahead = f.greater(b, other, this) if descending else f.less(b, other, this)
    tied = f.equal(b, other, this)
    if is_float(x.type.dtype):
        this_nan, other_nan = f.is_nan(b, this), f.is_nan(b, other)
        ahead = f.logical_or(b, ahead, f.logical_and(b, this_nan, f.logical_not(b, other_nan)))
        tied = f.logical_or(b, tied, f.logical_and(b, this_nan, other_nan))
    earlier = f.less(b, f.iota(b, shape, rank - 1, "int32"), f.iota(b, shape, rank - 2, "int32"))
    return f.logical_or(b, ahead, f.logical_and(b, tied, earlier))


def _sorted(b: Builder, x: Value, count: Any, descending: bool) -> tuple[Value, Value]:
    """The first `count` elements of the last axis in sorted order, and their positions (int32).

    Counts for each element those before it: extent squared comparisons, in any order, on any number of threads.
    """
    places = f.reduce_sum(b, f.cast(b, _precedes(b, x, descending), "int32"), -1)  # [..., extent]
    extent = x.type.shape[-1]
    shape = (*x.type.shape[:-1], count, extent)
    rank = len(shape)
    kept = (*range(rank - 2), rank - 1)
    hit = f.equal(b, f.broadcast_in(b, places, shape, kept), f.iota(b, shape, rank - 2, "int32"))
    positions = f.reduce_sum(b, f.where(b, hit, f.iota(b, shape, rank - 1, "int32"), 0), -1)
    zero: Any = False if x.type.dtype == "bool" else 0
    picked = f.where(b, hit, f.broadcast_in(b, x, shape, kept), zero)
    values = f.any_(b, picked, -1) if x.type.dtype == "bool" else f.reduce_sum(b, picked, -1)
    return f.cast(b, values, x.type.dtype), positions


@keras_class("numpy", "axis")
@operation
def sort(b: Builder, x: Tensor, axis: int = -1) -> Value:
    """The elements of an axis in ascending order; costs extent squared comparisons."""
    moved = f.move_axis(b, x, axis, -1)
    return f.move_axis(b, _sorted(b, moved, moved.type.shape[-1], False)[0], -1, axis)


@keras_class("numpy", "axis")
@operation
def argsort(b: Builder, x: Tensor, axis: int | None = -1) -> Value:
    """The positions (int32) of the elements in ascending order, equal ones by position."""
    if axis is None:
        x, axis = f.reshape(b, x, (-1,)), -1
    moved = f.move_axis(b, x, axis, -1)
    return f.move_axis(b, _sorted(b, moved, moved.type.shape[-1], False)[1], -1, axis)


@keras_class("math", "k sorted")
@operation
def top_k(b: Builder, x: Tensor, k: int, sorted: bool = True) -> tuple[Value, Value]:
    """The k greatest elements of the last axis in descending order, and their positions (int32)."""
    extent = x.type.shape[-1]
    if isinstance(extent, int) and not 0 <= k <= extent:
        raise ValueError(f"ops.top_k: k must lie in 0..{extent}. Received: k={k} for {x.type}")
    return _sorted(b, x, k, True)


@keras_class("math", "k")
@operation
def in_top_k(b: Builder, targets: Tensor, predictions: Tensor, k: int) -> Value:
    """Whether each row's target class is among its k greatest predictions; ties count as in.

    Rows with a target out of range, or whose target's prediction is not finite, are not.
    """
    classes = predictions.type.shape[-1]
    targets = _integers(b, targets)
    shape = (*targets.type.shape, classes)
    own = f.equal(b, f.iota(b, shape, len(shape) - 1, targets.type.dtype), f.expand_dims(b, targets, -1))
    score = f.reduce_sum(b, f.where(b, own, predictions, 0), -1, True)
    ahead = f.reduce_sum(b, f.cast(b, f.greater(b, predictions, score), "int32"), -1)
    valid = f.logical_and(b, f.any_(b, own, -1), f.less(b, f.squeeze(b, f.absolute(b, score), -1), float("inf")))
    return f.logical_and(b, f.less(b, ahead, k), valid)
