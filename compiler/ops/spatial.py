"""Windows that slide over spatial axes: sizes, padding and strides shared by convolution and pooling.

Tensors are [batch, *spatial, channels] with one to three spatial axes. Output position o covers the input
positions `o * stride + k * dilation - low` for k below the window's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.ir import Array
from compiler.loops import INDEX, Expr, Lowering, literal, select
from compiler.ops.checks import concrete, require_length, require_not_negative
from compiler.types import TensorType
from runtime.dimensions import Dim

Padding = tuple[tuple[Dim, Dim], ...]


def require_spatial(
    op: str, rank: int, strides: Sequence[int], padding: Padding, dilation: Sequence[int] | None = None
) -> None:
    """Raise ValueError unless every spatial axis has a valid stride, padding and dilation."""
    if not 1 <= rank <= 3:
        raise ValueError(f"{op}: expected one to three spatial axes, [batch, *spatial, channels]. Received: {rank}")
    require_length(op, "strides", strides, rank)
    require_length(op, "padding", padding, rank)
    if dilation is not None:
        require_length(op, "dilation", dilation, rank)
    for what, values in (("strides", strides), ("dilation", dilation or ())):
        if any(value < 1 for value in values):
            raise ValueError(f"{op}: {what} must be positive. Received: {what}={tuple(values)}")
    for low, high in padding:
        require_not_negative(op, "padding", low)
        require_not_negative(op, "padding", high)


def output_extents(
    op: str,
    spatial: Sequence[Dim],
    window: Sequence[Dim],
    strides: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
) -> tuple[Dim, ...]:
    """(extent + low + high - ((window - 1) dilation + 1)) // stride + 1 for each axis.

    Raises:
        ValueError: if the window does not fit into the padded input.
    """
    result: list[Dim] = []
    for axis, extent in enumerate(spatial):
        low, high = padding[axis]
        room = extent + low + high - ((window[axis] - 1) * dilation[axis] + 1)
        out = room // strides[axis] + 1
        if isinstance(out, int) and out <= 0:
            raise ValueError(
                f"{op}: computed output size would be zero or negative on spatial axis {axis}: "
                f"extent {extent} padded by {low} and {high} is shorter than the window of {window[axis]} "
                f"with dilation {dilation[axis]}. Use a larger input, a smaller window or padding 'same'."
            )
        result.append(out)
    return tuple(result)


def inside(k: Lowering, position: Expr, extent: Dim, low: bool = True, high: bool = True) -> Expr | None:
    """Whether a position is an index of the axis; `low` and `high` say on which sides it may not be.

    None if it always is.
    """
    tests = [position >= 0] if low else []
    if high:
        tests.append(position < k.extent(extent))
    return all_of(tests)


def clamp(k: Lowering, position: Expr, extent: Dim, low: bool = True, high: bool = True) -> Expr:
    """The index nearest to a position: loads are unconditional and may never leave their array."""
    if high:
        last = k.extent(extent) - 1
        position = select(position < last, position, last)
    return select(position > 0, position, literal(0, INDEX)) if low else position


def all_of(tests: Sequence[Expr | None]) -> Expr | None:
    """The conjunction; None, which stands for true, if there is nothing to test."""
    result: Expr | None = None
    for test in tests:
        if test is not None:
            result = test if result is None else result & test
    return result


def guarded(test: Expr | None, value: Expr, otherwise: float) -> Expr:
    """The value where the test holds."""
    return value if test is None else select(test, value, literal(otherwise, value.dtype))


def window_positions(
    k: Lowering,
    types: TensorType,
    output: Sequence[Expr],
    offset: Sequence[Expr],
    strides: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
) -> tuple[list[Expr], Expr | None]:
    """Input positions of a window's element, moved into the input, and whether they had been inside."""
    positions, tests = [], []
    for axis, extent in enumerate(types.shape[1:-1]):
        low, high = padding[axis]
        at = output[axis] * strides[axis] + offset[axis] * dilation[axis] - k.extent(low)
        sides = {"low": low != 0, "high": high != 0}
        tests.append(inside(k, at, extent, **sides))
        positions.append(clamp(k, at, extent, **sides))
    return positions, all_of(tests)


def padded(x: Array, padding: Padding, value: float) -> Array:
    """The array with its spatial axes padded, for `reference`."""
    widths = [(0, 0), *(concrete(pair) for pair in padding), (0, 0)]
    return np.pad(x, widths, constant_values=value)


def cropped(x: Array, padding: Padding, spatial: Sequence[Dim]) -> Array:
    """The inverse of `padded`, for `reference`."""
    extents = concrete(spatial)
    lows = [concrete(pair)[0] for pair in padding]
    cut = (slice(low, low + extent) for low, extent in zip(lows, extents, strict=True))
    return np.ascontiguousarray(x[(slice(None), *cut)])


def windows(x: Array, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Array:
    """A view [batch, *output, channels, *size] of all windows of a padded array, for `reference`."""
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    axes = tuple(range(1, 1 + len(size)))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axes)
    steps = (slice(None, None, stride) for stride in strides)
    taps = (slice(None, None, step) for step in dilation)
    return view[(slice(None), *steps, slice(None), *taps)]


def tap(
    x: Array, offset: Sequence[int], output: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Array:
    """A view of the elements of a padded array that all windows hold at one offset, for `reference`."""
    cut = tuple(
        slice(k * d, k * d + (n - 1) * s + 1, s) for k, n, s, d in zip(offset, output, strides, dilation, strict=True)
    )
    return x[(slice(None), *cut)]
