"""Largest element of windows over sequences."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.base_pooling import BasePooling


class MaxPooling1D(BasePooling):
    """The largest element of each window of one axis. Arguments as for `MaxPooling2D`.

    Input: (batch, steps, channels). Output: (batch, new_steps, channels).
    """

    rank = 1
    reduction = staticmethod(ops.max_pool)

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)
