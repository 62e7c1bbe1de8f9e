"""Convolutions: Keras's padding rules on top of the IR's explicit ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from compiler import functions as f
from compiler.functions import resolve_padding
from compiler.ir import Builder, Value
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import to_float
from graphcore.ops.keras_class import keras_class
from graphcore.settings import standardize_data_format
from runtime.dimensions import Dim

Pair = tuple[Dim, Dim]


def per_axis(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """An integer for every spatial axis.

    Raises:
        ValueError: if the number of integers differs from the number of axes, or one is not positive.
    """
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) == 1:
        values *= rank
    if len(values) != rank or any(int(v) < 1 for v in values):
        raise ValueError(f"The `{name}` argument must be {rank} positive integers, or one. Received: {name}={value}")
    return tuple(int(v) for v in values)


def window_padding(
    padding: str, extents: Sequence[Dim], sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[Pair, ...]:
    """Explicit padding per spatial axis.

    Raises:
        ValueError: for an unknown mode, or if a window does not fit.
    """
    mode = str(padding).lower()
    if mode not in ("valid", "same", "causal") or (mode == "causal" and len(sizes) != 1):
        raise ValueError(
            f"The `padding` argument must be 'valid' or 'same' (or 'causal' on one spatial axis). Received: "
            f"padding={padding!r} with {len(sizes)} spatial axes"
        )
    for axis, (extent, size, dilation) in enumerate(zip(extents, sizes, dilations, strict=True)):
        reach = (size - 1) * dilation + 1
        if mode == "valid" and isinstance(extent, int) and extent < reach:
            raise ValueError(
                f"Computed output size would be zero or negative: spatial axis {axis} has extent {extent}, but the "
                f"window reaches over {reach} elements. Received spatial shape {tuple(extents)} and window "
                f"{tuple(sizes)}. Fix: use padding='same', a smaller window, or larger inputs."
            )
    return resolve_padding(mode, extents, sizes, strides, dilations)


def to_channels_last(b: Builder, x: Value, data_format: str | None) -> tuple[Value, bool]:
    """The tensor with its channels on the last axis, and whether they had to be moved."""
    if standardize_data_format(data_format) == "channels_last":
        return x, False
    return f.move_axis(b, x, 1, -1), True


def from_channels_last(b: Builder, x: Value, moved: bool) -> Value:
    """The tensor with its channels back on axis 1 if they were moved."""
    return f.move_axis(b, x, -1, 1) if moved else x


def _operands(b: Builder, inputs: Value, kernel: Value) -> tuple[Value, Value]:
    dtype = f.common_dtype((inputs, kernel))
    return to_float(b, f.cast(b, inputs, dtype)), to_float(b, f.cast(b, kernel, dtype))


def _spatial_rank(inputs: Value, kernel: Value, name: str) -> int:
    rank = inputs.type.rank - 2
    if rank not in (1, 2, 3) or kernel.type.rank != inputs.type.rank:
        raise ValueError(
            f"ops.{name} takes inputs with a batch axis, 1 to 3 spatial axes and a channel axis, and a kernel with as "
            f"many axes. Received: inputs {inputs.type}, kernel {kernel.type}"
        )
    return rank


@keras_class("nn", "strides padding data_format dilation_rate")
@operation
def conv(
    b: Builder,
    inputs: Tensor,
    kernel: Tensor,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Value:
    """Convolution (cross-correlation) over 1 to 3 spatial axes.

    Args:
        inputs: [batch, *spatial, channels], or channels on axis 1 for 'channels_first'.
        kernel: [*window, channels / groups, filters] for either format; the groups follow from it.
        strides: step of the window per axis.
        padding: 'valid' or 'same' (result extents ceil(extent / stride), the odd element of padding last).
        data_format: where the channels are; `image_data_format()` by default.
        dilation_rate: distance of the window's elements per axis.

    Raises:
        ValueError: if ranks, channels or windows do not fit.
    """
    rank = _spatial_rank(inputs, kernel, "conv")
    x, moved = to_channels_last(b, inputs, data_format)
    x, kernel = _operands(b, x, kernel)
    channels, group = x.type.shape[-1], kernel.type.shape[-2]
    if not isinstance(channels, int) or not isinstance(group, int) or channels % group:
        raise ValueError(
            f"The number of input channels must be divisible by the kernel's. Received: inputs {x.type} with "
            f"{channels} "
            f"channels, kernel {kernel.type} for {group}"
        )
    groups = channels // group
    if cast(int, kernel.type.shape[-1]) % groups:
        raise ValueError(
            f"The number of filters must be divisible by the {groups} groups. Received: kernel {kernel.type}"
        )
    return from_channels_last(b, _conv(b, x, kernel, rank, strides, padding, dilation_rate, groups), moved)


def _conv(
    b: Builder, x: Value, kernel: Value, rank: int, strides: Any, padding: str, dilation_rate: Any, groups: int
) -> Value:
    steps, dilation = per_axis(strides, rank, "strides"), per_axis(dilation_rate, rank, "dilation_rate")
    if max(steps) > 1 and max(dilation) > 1:
        raise ValueError(
            f"`strides > 1` is not supported together with `dilation_rate > 1`. Received: strides={strides} and "
            f"dilation_rate={dilation_rate}"
        )
    window = cast(tuple[int, ...], kernel.type.shape[:rank])
    pads = window_padding(padding, x.type.shape[1:-1], window, steps, dilation)
    return f.emit(b, "convolution", x, kernel, strides=steps, padding=pads, dilation=dilation, groups=groups)


@keras_class("nn", "strides padding data_format dilation_rate")
@operation
def depthwise_conv(
    b: Builder,
    inputs: Tensor,
    kernel: Tensor,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Value:
    """Each channel convolved by itself: kernel [*window, channels, multiplier], result channel c multiplier + m."""
    rank = _spatial_rank(inputs, kernel, "depthwise_conv")
    x, moved = to_channels_last(b, inputs, data_format)
    x, kernel = _operands(b, x, kernel)
    return from_channels_last(b, _depthwise(b, x, kernel, rank, strides, padding, dilation_rate), moved)


def _depthwise(b: Builder, x: Value, kernel: Value, rank: int, strides: Any, padding: str, dilation_rate: Any) -> Value:
    channels = kernel.type.shape[-2]
    if channels != x.type.shape[-1]:
        raise ValueError(
            f"A depthwise kernel must have one window per channel: {x.type.shape[-1]}. Received: kernel {kernel.type}"
        )
    flat = f.reshape(b, kernel, (*kernel.type.shape[:rank], 1, -1))
    return _conv(b, x, flat, rank, strides, padding, dilation_rate, cast(int, channels))


@keras_class("nn", "strides padding data_format dilation_rate")
@operation
def separable_conv(
    b: Builder,
    inputs: Tensor,
    depthwise_kernel: Tensor,
    pointwise_kernel: Tensor,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Value:
    """A depthwise convolution, then one with a window of 1 over all channels."""
    rank = _spatial_rank(inputs, depthwise_kernel, "separable_conv")
    x, moved = to_channels_last(b, inputs, data_format)
    x, depthwise_kernel = _operands(b, x, depthwise_kernel)
    x = _depthwise(b, x, depthwise_kernel, rank, strides, padding, dilation_rate)
    return from_channels_last(b, _conv(b, x, pointwise_kernel, rank, 1, "valid", 1, 1), moved)


@keras_class("nn", "strides padding output_padding data_format dilation_rate")
@operation
def conv_transpose(
    b: Builder,
    inputs: Tensor,
    kernel: Tensor,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Value:
    """Transposed convolution: what `conv` with this kernel sends back to its input.

    Args:
        inputs: [batch, *spatial, channels], or channels on axis 1 for 'channels_first'.
        kernel: [*window, filters, channels].
        strides: factor by which each axis grows.
        padding: 'same' gives extents extent * stride; 'valid' (extent - 1) * stride + max(window, stride).
        output_padding: elements added at the end of each axis, in place of the rule above.
        data_format: where the channels are; `image_data_format()` by default.
        dilation_rate: distance of the window's elements per axis.

    Raises:
        ValueError: if ranks or channels do not fit, or an output padding is not below its stride.
    """
    rank = _spatial_rank(inputs, kernel, "conv_transpose")
    x, moved = to_channels_last(b, inputs, data_format)
    x, kernel = _operands(b, x, kernel)
    if x.type.shape[-1] != kernel.type.shape[-1]:
        raise ValueError(
            f"The kernel [*window, filters, channels] must have as many channels as the inputs. Received: inputs "
            f"{x.type}, kernel {kernel.type}"
        )
    mode = str(padding).lower()
    if mode not in ("valid", "same"):
        raise ValueError(f"The `padding` argument must be 'valid' or 'same'. Received: padding={padding!r}")
    steps, dilation = per_axis(strides, rank, "strides"), per_axis(dilation_rate, rank, "dilation_rate")
    extra: Sequence[int | None] = (None,) * rank
    if output_padding is not None:
        extra = (output_padding,) * rank if isinstance(output_padding, int) else tuple(output_padding)
    if any(amount is not None and not 0 <= amount < step for amount, step in zip(extra, steps, strict=True)):
        raise ValueError(
            f"Each `output_padding` must be at least 0 and below its stride. Received: "
            f"output_padding={output_padding}, "
            f"strides={strides}"
        )
    added = None if output_padding is None else [amount or 0 for amount in extra]
    result = f.convolution_transpose(b, x, kernel, steps, mode, dilation, added)
    return from_channels_last(b, result, moved)
