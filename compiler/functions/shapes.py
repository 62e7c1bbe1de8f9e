"""Shapes: reshape, transpose, cut and join. Axes may be negative; extents may be symbolic."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise

from compiler.functions.core import (
    Scalar,
    broadcast_in,
    cast,
    common_dtype,
    emit,
    normalize_axes,
    normalize_axis,
)
from compiler.ir import Builder, Value
from compiler.types import product
from runtime.dimensions import Dim, SymbolicInt, dim_max, is_nonnegative


def reshape(b: Builder, x: Value, shape: Sequence[Dim]) -> Value:
    """Another shape of the same size; one extent may be -1 and is computed.

    Raises:
        ValueError: if there are several -1, or the size is not a multiple of the other extents.
    """
    target = tuple(extent if isinstance(extent, SymbolicInt) else operator.index(extent) for extent in shape)
    unknown = [axis for axis, extent in enumerate(target) if extent == -1]
    if len(unknown) > 1:
        raise ValueError(f"reshape: at most one extent may be -1. Received: shape={target}")
    if unknown:
        known = product(tuple(extent for extent in target if extent != -1))
        target = tuple(_quotient(x, known, target) if extent == -1 else extent for extent in target)
    return x if target == x.type.shape else emit(b, "reshape", x, shape=target)


def _quotient(x: Value, known: Dim, target: tuple[Dim, ...]) -> Dim:
    size = x.type.size
    if known == 0:
        raise ValueError(f"reshape: -1 is ambiguous beside an extent of 0. Received: {x.type} into {target}")
    for axis, extent in enumerate(x.type.shape):
        # Exact cancellation first: it also divides by a symbolic extent.
        if extent == known:
            return product(x.type.shape[:axis] + x.type.shape[axis + 1 :])
    try:
        quotient = size // known
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"reshape: cannot divide the size {size} of {x.type} by {known}. Received: shape={target}"
        ) from error
    if quotient * known != size:
        raise ValueError(
            f"reshape: the size {size} of {x.type} must be a multiple of {known}. Received: shape={target}"
        )
    return quotient


def transpose(b: Builder, x: Value, permutation: Sequence[int] | None = None) -> Value:
    """Result axis i is axis `permutation[i]`; None reverses the axes."""
    rank = x.type.rank
    order = tuple(reversed(range(rank))) if permutation is None else tuple(permutation)
    order = tuple(normalize_axis(axis, rank) for axis in order)
    return x if order == tuple(range(rank)) else emit(b, "transpose", x, permutation=order)


def swap_last_axes(b: Builder, x: Value) -> Value:
    """Each matrix of a stack transposed."""
    return transpose(b, x, (*range(x.type.rank - 2), x.type.rank - 1, x.type.rank - 2))


def move_axis(b: Builder, x: Value, source: int, target: int) -> Value:
    """One axis moved to another place; the others keep their order."""
    order = list(range(x.type.rank))
    axis = order.pop(normalize_axis(source, x.type.rank))
    order.insert(normalize_axis(target, x.type.rank), axis)
    return transpose(b, x, order)


def expand_dims(b: Builder, x: Value, axis: int | Sequence[int]) -> Value:
    """New axes of extent 1 at the given places of the result."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    rank = x.type.rank + len(axes)
    places, extents = normalize_axes(axes, rank), iter(x.type.shape)
    return reshape(b, x, [1 if place in places else next(extents) for place in range(rank)])


def squeeze(b: Builder, x: Value, axis: int | Sequence[int] | None = None) -> Value:
    """Axes of extent 1 removed: the given ones, or all.

    Raises:
        ValueError: if a given axis has another extent.
    """
    if axis is None:
        axes = tuple(i for i, extent in enumerate(x.type.shape) if extent == 1)
    else:
        axes = normalize_axes(axis, x.type.rank)
    for i in axes:
        if x.type.shape[i] != 1:
            raise ValueError(f"squeeze: axis {i} must have extent 1. Received: {x.type} with axis={axis}")
    return reshape(b, x, [extent for i, extent in enumerate(x.type.shape) if i not in axes])


def slice_(b: Builder, x: Value, start: Sequence[Dim], stop: Sequence[Dim], step: Sequence[int] | None = None) -> Value:
    """Exact bounds per axis, 0 <= start <= stop <= extent; see `slice_axis` for Python's forgiving ones."""
    step = (1,) * x.type.rank if step is None else tuple(step)
    start, stop = tuple(start), tuple(stop)
    whole = stop == x.type.shape and all(s == 0 for s in start) and all(s == 1 for s in step)
    return x if whole else emit(b, "slice", x, start=start, stop=stop, step=step)


def slice_axis(
    b: Builder, x: Value, axis: int, start: Dim | None = None, stop: Dim | None = None, step: int = 1
) -> Value:
    """`x[..., start:stop:step, ...]` on one axis, by Python's rules.

    Negative bounds count from the end, bounds beyond the axis are moved to it, a negative step reverses.
    """
    axis = normalize_axis(axis, x.type.rank)
    extent = x.type.shape[axis]
    if step < 0:
        return _slice_backwards(b, x, axis, start, stop, -step)
    if step == 0:
        raise ValueError("slice: step must not be 0")
    low, high = (
        _bound(0 if start is None else start, extent),
        _bound(extent if stop is None else stop, extent),
    )
    starts: list[Dim] = [0] * x.type.rank
    stops, steps = list(x.type.shape), [1] * x.type.rank
    # A bound that was moved into the axis is not below 0, though an expression may hide that.
    starts[axis], stops[axis], steps[axis] = low, high if low == 0 else dim_max(low, high), step
    return slice_(b, x, starts, stops, steps)


def _slice_backwards(b: Builder, x: Value, axis: int, start: Dim | None, stop: Dim | None, step: int) -> Value:
    # x[start:stop:-step] takes positions start, start - step, ... above stop: in the reversed axis these are
    # extent - 1 - start and on, below extent - 1 - stop.
    extent = x.type.shape[axis]
    first = 0 if start is None else extent - 1 - _bound(start, extent, last=True)
    end = extent if stop is None else extent - 1 - _bound(stop, extent, last=True)
    return slice_axis(b, reverse(b, x, (axis,)), axis, first, end, step)


def _bound(position: Dim, extent: Dim, last: bool = False) -> Dim:
    """A slice bound as Python moves it into the axis (`last`: the highest is extent - 1, the lowest -1)."""
    negative = isinstance(position, int) and position < 0
    if negative:
        position = position + extent
    lowest, highest = (-1, extent - 1) if last else (0, extent)
    if is_nonnegative(position - lowest) and is_nonnegative(highest - position):
        return position
    position = dim_max(position, lowest)
    return position + highest - dim_max(position, highest)  # the smaller of the two


def pad(b: Builder, x: Value, low: Sequence[Dim], high: Sequence[Dim], value: Scalar = 0) -> Value:
    """`low` elements of `value` before and `high` after each axis."""
    low, high = tuple(low), tuple(high)
    return x if all(amount == 0 for amount in low + high) else emit(b, "pad", x, low=low, high=high, value=value)


def dilate(b: Builder, x: Value, steps: Sequence[int]) -> Value:
    """Zeros between the elements of each axis, so that neighbours are `steps` apart."""
    for axis, step in enumerate(steps):
        extent = x.type.shape[axis]
        if step == 1 or extent in (0, 1):
            continue
        shape = x.type.shape
        x = reshape(b, x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
        x = pad(b, x, (0,) * x.type.rank, tuple((step - 1) * (i == axis + 1) for i in range(x.type.rank)))
        x = reshape(b, x, (*shape[:axis], extent * step, *shape[axis + 1 :]))
        x = slice_axis_exact(b, x, axis, 0, extent * step - (step - 1))
    return x


def slice_axis_exact(b: Builder, x: Value, axis: int, start: Dim, stop: Dim) -> Value:
    """Elements start..stop of one axis; the bounds must lie in it."""
    rank, shape = x.type.rank, x.type.shape
    starts = tuple(start if i == axis else 0 for i in range(rank))
    return slice_(b, x, starts, tuple(stop if i == axis else shape[i] for i in range(rank)))


def concatenate(b: Builder, values: Sequence[Value], axis: int = 0) -> Value:
    """Tensors one after another along an axis; dtypes are promoted."""
    dtype = common_dtype(values)
    values = [cast(b, value, dtype) for value in values]
    axis = normalize_axis(axis, values[0].type.rank)
    return values[0] if len(values) == 1 else emit(b, "concatenate", *values, axis=axis)


def stack(b: Builder, values: Sequence[Value], axis: int = 0) -> Value:
    """Tensors of one shape side by side along a new axis."""
    return concatenate(b, [expand_dims(b, value, axis) for value in values], axis)


def split(b: Builder, x: Value, sections: int | Sequence[Dim], axis: int = 0) -> list[Value]:
    """Equal parts of an axis (an integer), or the parts between the given positions.

    Raises:
        ValueError: if the extent is not divisible by the number of parts.
    """
    axis = normalize_axis(axis, x.type.rank)
    extent = x.type.shape[axis]
    if isinstance(sections, int):
        part = extent // sections
        if part * sections != extent:
            raise ValueError(
                f"split: axis {axis} of {x.type} must be divisible into {sections} equal parts. "
                f"Received: extent {extent}"
            )
        edges: list[Dim] = [part * i for i in range(sections + 1)]
    else:
        edges = [0, *sections, extent]
    return [slice_axis(b, x, axis, low, high) for low, high in pairwise(edges)]


def reverse(b: Builder, x: Value, axes: int | Sequence[int] | None = None) -> Value:
    """The elements in reverse order along the axes (None: all)."""
    chosen = normalize_axes(axes, x.type.rank)
    return emit(b, "reverse", x, axes=chosen) if chosen else x


def repeat(b: Builder, x: Value, repeats: int, axis: int | None = None) -> Value:
    """Each element `repeats` times in a row along the axis (None: of the flattened tensor)."""
    if axis is None:
        x, axis = reshape(b, x, (-1,)), 0
    axis, shape = normalize_axis(axis, x.type.rank), x.type.shape
    kept = tuple(i + (i > axis) for i in range(x.type.rank))
    wide = broadcast_in(b, x, (*shape[: axis + 1], repeats, *shape[axis + 1 :]), kept)
    return reshape(b, wide, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))


def tile(b: Builder, x: Value, repeats: Sequence[int]) -> Value:
    """The whole tensor repeated along each axis; missing repeats or axes at the front count as 1."""
    rank = max(x.type.rank, len(repeats))
    counts = (1,) * (rank - len(repeats)) + tuple(repeats)
    shape = (1,) * (rank - x.type.rank) + x.type.shape
    pairs = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    wide = broadcast_in(b, reshape(b, x, shape), pairs, range(1, 2 * rank, 2))
    return reshape(b, wide, [count * extent for count, extent in zip(counts, shape, strict=True)])
