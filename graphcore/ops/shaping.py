"""Moving elements: shape, order, joining and cutting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler import functions as f
from compiler.ir import Builder, Value
from graphcore.ops.dispatch import Tensor, Tensors, operation
from graphcore.ops.keras_class import keras_class
from runtime.dimensions import Dim, SymbolicInt


def _extents(shape: Any) -> list[Any]:
    """A shape argument as a list; None in it means -1, as for a `Reshape` layer."""
    items = list(shape) if isinstance(shape, (list, tuple)) else [shape]
    return [-1 if extent is None else extent for extent in items]


@keras_class("numpy", "newshape")
@operation
def reshape(b: Builder, x: Tensor, newshape: Any) -> Value:
    """Another shape of the same size; one extent may be -1."""
    return f.reshape(b, x, _extents(newshape))


@keras_class("numpy", "axes")
@operation
def transpose(b: Builder, x: Tensor, axes: Sequence[int] | None = None) -> Value:
    """Result axis i is axis `axes[i]`; None reverses the axes."""
    return f.transpose(b, x, axes)


@keras_class("numpy", "axis")
@operation
def expand_dims(b: Builder, x: Tensor, axis: int | Sequence[int]) -> Value:
    """New axes of extent 1 at these places of the result."""
    return f.expand_dims(b, x, axis)


@keras_class("numpy", "axis")
@operation
def squeeze(b: Builder, x: Tensor, axis: int | Sequence[int] | None = None) -> Value:
    """Axes of extent 1 removed: these, or all."""
    return f.squeeze(b, x, axis)


@keras_class("numpy")
@operation
def ravel(b: Builder, x: Tensor) -> Value:
    """All elements on one axis."""
    return f.reshape(b, x, (-1,))


@keras_class("numpy", "source destination")
@operation
def moveaxis(b: Builder, x: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Value:
    """Axes moved to other places; the others keep their order."""
    rank = x.type.rank
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    places = {
        f.normalize_axis(to, rank): f.normalize_axis(axis, rank) for axis, to in zip(sources, targets, strict=True)
    }
    rest = iter(axis for axis in range(rank) if axis not in places.values())
    return f.transpose(b, x, [places[i] if i in places else next(rest) for i in range(rank)])


@keras_class("numpy", "axis1 axis2")
@operation
def swapaxes(b: Builder, x: Tensor, axis1: int, axis2: int) -> Value:
    """Two axes exchanged."""
    order = list(range(x.type.rank))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return f.transpose(b, x, order)


@keras_class("numpy", "axis")
@operation
def flip(b: Builder, x: Tensor, axis: int | Sequence[int] | None = None) -> Value:
    """The elements in reverse order along the axes (None: all)."""
    return f.reverse(b, x, axis)


@keras_class("numpy", "shift axis")
@operation
def roll(b: Builder, x: Tensor, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Value:
    """Elements moved on by `shift` along an axis; those that fall off the end come in at the start.

    With several axes each has its shift, or all have one. None: along the flattened tensor.
    """
    if axis is None:
        flat = _rolled(b, f.reshape(b, x, (-1,)), shift if isinstance(shift, int) else sum(shift), 0)
        return f.reshape(b, flat, x.type.shape)
    shifts, axes = np.broadcast_arrays(np.atleast_1d(shift), np.atleast_1d(axis))
    for by, place in zip(shifts.tolist(), axes.tolist(), strict=True):
        x = _rolled(b, x, by, f.normalize_axis(place, x.type.rank))
    return x  # type: ignore[no-any-return]


def _rolled(b: Builder, x: Value, shift: int, axis: int) -> Value:
    extent = x.type.shape[axis]
    if isinstance(extent, int):
        shift = shift % extent if extent else 0
    if shift == 0:
        return x
    parts = [f.slice_axis(b, x, axis, -shift, None), f.slice_axis(b, x, axis, 0, -shift)]
    return f.concatenate(b, parts, axis)


@keras_class("numpy", "shape")
@operation
def broadcast_to(b: Builder, x: Tensor, shape: Any) -> Value:
    """Repeated along axes of extent 1 and new axes in front, to this shape."""
    return f.broadcast_to(b, x, tuple(shape))


@keras_class("numpy", "repeats axis")
@operation
def repeat(b: Builder, x: Tensor, repeats: int | Sequence[int], axis: int | None = None) -> Value:
    """Each element `repeats` times in a row along an axis (None: of the flattened tensor).

    Args:
        x: the tensor.
        repeats: a number, or one for each entry of the axis.
        axis: along which.

    Raises:
        ValueError: another number of repeats than of entries.
    """
    if not isinstance(repeats, Sequence):
        return f.repeat(b, x, int(repeats), axis)
    if len(repeats) == 1:
        return f.repeat(b, x, int(repeats[0]), axis)
    if axis is None:
        x, axis = f.reshape(b, x, (-1,)), 0
    extent = x.type.shape[axis]
    if extent != len(repeats):
        raise ValueError(
            f"ops.repeat: `repeats` must be one integer, or one for each of the {extent} entries of axis {axis}. "
            f"Received: repeats={repeats}"
        )
    entries = np.repeat(np.arange(len(repeats), dtype=np.int32), repeats)
    return f.take(b, x, f.constant(b, entries), axis)


@keras_class("numpy", "repeats")
@operation
def tile(b: Builder, x: Tensor, repeats: int | Sequence[int]) -> Value:
    """The whole tensor repeated along each axis."""
    return f.tile(b, x, [repeats] if isinstance(repeats, int) else list(repeats))


@keras_class("numpy", "axis")
@operation
def concatenate(b: Builder, xs: Tensors, axis: int = 0) -> Value:
    """Tensors one after another along an axis."""
    return f.concatenate(b, xs, axis)


@keras_class("numpy", "axis")
@operation
def stack(b: Builder, x: Tensors, axis: int = 0) -> Value:
    """Tensors of one shape side by side along a new axis."""
    return f.stack(b, x, axis)


@keras_class("numpy", "axis")
@operation
def append(b: Builder, x1: Tensor, x2: Tensor, axis: int | None = None) -> Value:
    """x1, then x2 along an axis (None: both flattened)."""
    if axis is None:
        return f.concatenate(b, [f.reshape(b, x1, (-1,)), f.reshape(b, x2, (-1,))], 0)
    return f.concatenate(b, [x1, x2], axis)


@keras_class("numpy")
@operation
def hstack(b: Builder, xs: Tensors) -> Value:
    """Joined along axis 1, vectors along axis 0."""
    xs = [f.reshape(b, x, (1,)) if x.type.rank == 0 else x for x in xs]
    return f.concatenate(b, xs, 0 if xs[0].type.rank == 1 else 1)


@keras_class("numpy")
@operation
def vstack(b: Builder, xs: Tensors) -> Value:
    """Joined along axis 0, vectors as rows."""
    rows = [f.reshape(b, x, (1, -1)) if x.type.rank < 2 else x for x in xs]
    return f.concatenate(b, rows, 0)


@keras_class("numpy", "indices_or_sections axis")
@operation
def split(b: Builder, x: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Value]:
    """Equal parts of an axis (an integer), or the parts between these positions."""
    sections = indices_or_sections
    return f.split(b, x, sections if isinstance(sections, int) else [int(i) for i in sections], axis)


@keras_class("core", "num axis")
@operation
def unstack(b: Builder, x: Tensor, num: int | None = None, axis: int = 0) -> list[Value]:
    """The slices of an axis, without it.

    Raises:
        ValueError: if its extent is symbolic and `num` is not given.
    """
    place = f.normalize_axis(axis, x.type.rank)
    extent = x.type.shape[place] if num is None else num
    if isinstance(extent, SymbolicInt):
        raise ValueError(f"ops.unstack: the extent of axis {axis} must be known, or `num` given. Received: {x.type}")
    return [f.squeeze(b, f.slice_axis_exact(b, x, place, i, i + 1), place) for i in range(extent)]


@keras_class("numpy", "pad_width mode")
@operation
def pad(b: Builder, x: Tensor, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Value:
    """Elements before and after each axis: a constant (0), or the tensor mirrored.

    Args:
        x: the tensor.
        pad_width: a number, a pair, or a pair per axis.
        mode: 'constant', 'reflect' (the edge is not repeated), 'symmetric' (it is) or 'edge'.
        constant_values: a number, for 'constant' only.

    Raises:
        ValueError: for another mode, or widths that do not fit the axes.
    """
    widths = _pad_widths(pad_width, x.type.rank)
    if mode == "constant":
        value = 0 if constant_values is None else constant_values
        return f.pad(b, x, [low for low, _ in widths], [high for _, high in widths], value)
    if constant_values is not None:
        raise ValueError(
            f"Argument `constant_values` can only be provided when `mode='constant'`. Received: mode={mode!r}"
        )
    if mode not in ("reflect", "symmetric", "edge"):
        raise ValueError(
            f"ops.pad: `mode` must be 'constant', 'reflect', 'symmetric' or 'edge'. Received: mode={mode!r}"
        )
    for axis, (low, high) in enumerate(widths):
        x = _mirrored(b, x, axis, low, high, mode)
    return x  # type: ignore[no-any-return]


def _pad_widths(pad_width: Any, rank: int) -> list[tuple[Dim, Dim]]:
    if isinstance(pad_width, int):
        return [(pad_width, pad_width)] * rank
    rows: list[Any] = [tuple(row) if isinstance(row, (list, tuple)) else row for row in pad_width]
    if len(rows) == 2 and all(not isinstance(row, tuple) for row in rows):
        return [(rows[0], rows[1])] * rank
    pairs: list[tuple[Dim, Dim]] = [row if isinstance(row, tuple) else (row, row) for row in rows]
    pairs = [(pair[0], pair[-1]) for pair in pairs]
    if len(pairs) == 1:
        pairs *= rank
    if len(pairs) != rank:
        raise ValueError(f"ops.pad: `pad_width` must have one pair per axis ({rank}). Received: {pad_width}")
    return pairs


def _mirrored(b: Builder, x: Value, axis: int, low: Any, high: Any, mode: str) -> Value:
    """One axis extended at both ends from its own elements."""
    if low == 0 and high == 0:
        return x
    extent = x.type.shape[axis]
    if mode == "edge":
        first = f.slice_axis_exact(b, x, axis, 0, 1)
        last = f.slice_axis_exact(b, x, axis, extent - 1, extent)
        parts = [f.repeat(b, first, low, axis)] if low else []
        return f.concatenate(b, [*parts, x, *([f.repeat(b, last, high, axis)] if high else [])], axis)
    skip = 1 if mode == "reflect" else 0
    if isinstance(extent, int) and max(low, high) > extent - skip:
        raise ValueError(
            f"ops.pad: mode '{mode}' can add at most {extent - skip} elements to axis {axis}. Received: {(low, high)}"
        )
    parts = [x]
    if low:
        parts.insert(0, f.reverse(b, f.slice_axis_exact(b, x, axis, skip, low + skip), (axis,)))
    if high:
        end = extent - skip
        parts.append(f.reverse(b, f.slice_axis_exact(b, x, axis, end - high, end), (axis,)))
    return f.concatenate(b, parts, axis)


@keras_class("numpy", "offset axis1 axis2")
@operation
def diagonal(b: Builder, x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Value:
    """The elements of a matrix (or stack of them) on a diagonal."""
    rank = x.type.rank
    rest = [i for i in range(rank) if i not in (axis1 % rank, axis2 % rank)]
    x = f.transpose(b, x, [*rest, axis1 % rank, axis2 % rank])
    rows, columns = x.type.shape[-2:]
    x = f.slice_axis(b, x, -1, offset, None) if offset > 0 else f.slice_axis(b, x, -2, -offset, None)
    rows, columns = x.type.shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ValueError(f"ops.diagonal: the extents of the matrix must be known. Received: {x.type}")
    size = min(rows, columns)
    x = f.slice_axis(b, f.slice_axis(b, x, -2, 0, size), -1, 0, size)
    same = f.equal(b, f.iota(b, (size, size), 0, "int32"), f.iota(b, (size, size), 1, "int32"))
    return f.reduce_sum(b, f.where(b, same, x, 0), (-1,), False)
