"""Largest element of windows over images."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.base_pooling import BasePooling


class MaxPooling2D(BasePooling):
    """The largest element of each window.

    Args:
        pool_size: height and width of the window, one integer for both.
        strides: step of the window; None is `pool_size`.
        padding: `"valid"` (extent `floor((input - pool) / stride) + 1`) or `"same"` (`ceil(input / stride)`; padding
            never wins).
        data_format: `"channels_last"` (default) or `"channels_first"`.
        name: name.
        kwargs: see `Layer`.

    Input: (batch, height, width, channels). Output: (batch, new_height, new_width, channels).

    Raises:
        ValueError: arguments outside these values, or an output without elements.
    """

    rank = 2
    reduction = staticmethod(ops.max_pool)

    def __init__(
        self,
        pool_size: Any = (2, 2),
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)
