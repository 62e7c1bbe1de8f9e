"""Maxima and means over windows."""

from __future__ import annotations

from typing import Any

from compiler import functions as f
from compiler.ir import Builder, Value
from graphcore.ops.convolution import from_channels_last, per_axis, to_channels_last, window_padding
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import to_float
from graphcore.ops.keras_class import keras_class


def _pool(
    b: Builder, name: str, inputs: Value, pool_size: Any, strides: Any, padding: str, data_format: str | None
) -> Value:
    rank = inputs.type.rank - 2
    if rank not in (1, 2, 3):
        raise ValueError(
            f"ops.{name} takes inputs with a batch axis, 1 to 3 spatial axes and a channel axis. Received: "
            f"{inputs.type}"
        )
    x, moved = to_channels_last(b, inputs, data_format)
    size = per_axis(pool_size, rank, "pool_size")
    steps = size if strides is None else per_axis(strides, rank, "strides")
    pads = window_padding(padding, x.type.shape[1:-1], size, steps, (1,) * rank)
    return from_channels_last(b, f.emit(b, name, x, size=size, strides=steps, padding=pads), moved)


@keras_class("nn", "pool_size strides padding data_format")
@operation
def max_pool(
    b: Builder,
    inputs: Tensor,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Value:
    """The greatest element of each window.

    Args:
        inputs: [batch, *spatial, channels], or channels on axis 1 for 'channels_first'.
        pool_size: the window's extents.
        strides: its step per axis; the window by default.
        padding: 'valid', or 'same' (padding never wins).
        data_format: where the channels are; `image_data_format()` by default.
    """
    return _pool(b, "max_pool", inputs, pool_size, strides, padding, data_format)


@keras_class("nn", "pool_size strides padding data_format")
@operation
def average_pool(
    b: Builder,
    inputs: Tensor,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Value:
    """The mean of each window; padding is not counted. Arguments as for `max_pool`."""
    return _pool(b, "average_pool", to_float(b, inputs), pool_size, strides, padding, data_format)
