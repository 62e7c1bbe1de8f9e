"""Convolution, pooling and gathering with Keras's padding rules, on [batch, *spatial, channels]."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.functions.core import cast, common_dtype, emit, make, normalize_axis
from compiler.functions.elementwise import as_float
from compiler.functions.shapes import reshape
from compiler.ir import Builder, Value
from compiler.types import is_float
from runtime.dimensions import Dim, ceil_div, dim_max

Padding = str | Sequence[tuple[Dim, Dim]]


def per_axis(what: str, value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number an axis; a single one holds for all.

    Raises:
        ValueError: if there are more or fewer numbers than axes.
    """
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ValueError(f"{what} must be a number or {rank} of them. Received: {what}={value}")
    return values


def resolve_padding(
    padding: Padding,
    spatial: Sequence[Dim],
    size: Sequence[Dim],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[Dim, Dim], ...]:
    """Elements to add at either end of each axis: "valid", "same", "causal" or pairs.

    "same" gives ceil(extent / stride) results; where the total is odd the extra element comes at the end.

    Raises:
        ValueError: for another word.
    """
    if not isinstance(padding, str):
        return tuple((low, high) for low, high in padding)
    reach = [(k - 1) * d for k, d in zip(size, dilation, strict=True)]
    match padding.lower():
        case "valid":
            return ((0, 0),) * len(reach)
        case "causal":
            return tuple((total, 0) for total in reach)
        case "same":
            pairs: list[tuple[Dim, Dim]] = []
            for extent, stride, beyond in zip(spatial, strides, reach, strict=True):
                total = _same_total(extent, stride, beyond + 1)
                pairs.append((total // 2, total - total // 2))
            return tuple(pairs)
    raise ValueError(f"padding must be 'valid', 'same', 'causal' or pairs of numbers. Received: {padding!r}")


def _same_total(extent: Dim, stride: int, reach: Dim) -> Dim:
    total = (ceil_div(extent, stride) - 1) * stride + reach - extent
    if isinstance(reach, int) and reach >= stride:
        return total  # never negative; said so that symbolic sizes stay simple
    return 0 if reach == 1 else dim_max(total, 0)


def convolution(
    b: Builder,
    x: Value,
    kernel: Value,
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Value:
    """Cross-correlation of [batch, *spatial, channels] with [*kernel, channels / groups, filters]."""
    dtype = common_dtype((x, kernel))
    x, kernel = cast(b, x, dtype), cast(b, kernel, dtype)
    rank = x.type.rank - 2
    strides, dilation = per_axis("strides", strides, rank), per_axis("dilation", dilation, rank)
    pairs = resolve_padding(padding, x.type.shape[1:-1], kernel.type.shape[:-2], strides, dilation)
    return emit(b, "convolution", x, kernel, strides=strides, padding=pairs, dilation=dilation, groups=groups)


def depthwise_convolution(
    b: Builder,
    x: Value,
    kernel: Value,
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation: int | Sequence[int] = 1,
) -> Value:
    """Each channel with its own [*kernel, channels, multiplier]; result channel c * multiplier + m."""
    *size, channels, multiplier = kernel.type.shape
    if not isinstance(channels, int):
        raise ValueError(f"depthwise convolution: the number of channels must be known. Received: {kernel.type}")
    grouped = reshape(b, kernel, (*size, 1, channels * multiplier))
    return convolution(b, x, grouped, strides, padding, dilation, channels)


def convolution_transpose(
    b: Builder,
    x: Value,
    kernel: Value,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    dilation: int | Sequence[int] = 1,
    output_padding: int | Sequence[int] | None = None,
) -> Value:
    """The transpose of the convolution that maps filters to channels, with a [*kernel, filters, channels].

    Result sizes and alignment are those of `keras.ops.conv_transpose`.
    """
    dtype = common_dtype((x, kernel))
    x, kernel = cast(b, x, dtype), cast(b, kernel, dtype)
    rank = x.type.rank - 2
    strides, dilation = per_axis("strides", strides, rank), per_axis("dilation", dilation, rank)
    extra = None if output_padding is None else per_axis("output_padding", output_padding, rank)
    if padding not in ("valid", "same"):
        raise ValueError(f"transposed convolution: padding must be 'valid' or 'same'. Received: {padding!r}")
    outputs: list[Dim] = []
    pairs: list[tuple[Dim, Dim]] = []
    for axis, extent in enumerate(x.type.shape[1:-1]):
        size = kernel.type.shape[axis]
        if not isinstance(size, int):
            raise ValueError(f"transposed convolution: the kernel's size must be known. Received: {kernel.type}")
        added = None if extra is None else extra[axis]
        reach = (size - 1) * dilation[axis] + 1
        out, low = _transposed_axis(extent, reach, strides[axis], padding, added)
        outputs.append(out)
        pairs.append((low, dim_max((extent - 1) * strides[axis] + reach - out - low, 0)))
    return emit(
        b,
        "convolution_input_gradient",
        x,
        kernel,
        input_spatial=tuple(outputs),
        strides=strides,
        padding=tuple(pairs),
        dilation=dilation,
        groups=1,
    )


def _transposed_axis(extent: Dim, reach: int, stride: int, padding: str, added: int | None) -> tuple[Dim, int]:
    """The result's extent, and how much of its start the forward convolution would have padded."""
    if padding == "valid":
        return (extent - 1) * stride + reach + (max(stride - reach, 0) if added is None else added), 0
    if added is None:
        out, total = extent * stride, stride + reach - 2
    else:
        out, total = (extent - 1) * stride + reach % 2 + added, reach + reach % 2 - 2 + added
    return out, reach - 1 - min(total // 2 + total % 2, reach - 1)


def max_pool(
    b: Builder,
    x: Value,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Padding = "valid",
) -> Value:
    """The greatest element of each window; strides None: the windows touch."""
    return _pool(b, "max_pool", x, size, strides, padding)


def average_pool(
    b: Builder,
    x: Value,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Padding = "valid",
) -> Value:
    """The mean of the real elements of each window; strides None: the windows touch."""
    return _pool(b, "average_pool", as_float(b, x), size, strides, padding)


def _pool(
    b: Builder,
    name: str,
    x: Value,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None,
    padding: Padding,
) -> Value:
    rank = x.type.rank - 2
    size = per_axis("size", size, rank)
    strides = size if strides is None else per_axis("strides", strides, rank)
    pairs = resolve_padding(padding, x.type.shape[1:-1], size, strides, (1,) * rank)
    return emit(b, name, x, size=size, strides=strides, padding=pairs)


def take(b: Builder, x: Value, indices: Value, axis: int | None = None, fill: float | None = None) -> Value:
    """Slices of x at the indices along the axis (None: of the flattened tensor).

    Indices outside give `fill`, by default NaN.
    """
    if axis is None:
        x, axis = reshape(b, x, (-1,)), 0
    if is_float(indices.type.dtype) or indices.type.dtype == "bool":
        indices = cast(b, indices, "int32")
    return emit(b, "take", x, indices, axis=normalize_axis(axis, x.type.rank), fill=fill)


def scatter_add(b: Builder, updates: Value, indices: Value, axis: int, extent: Dim) -> Value:
    """Zeros of `extent` along the axis, with each update added at its index."""
    return b.emit(make("scatter_add", axis=axis, extent=extent), updates, indices)
