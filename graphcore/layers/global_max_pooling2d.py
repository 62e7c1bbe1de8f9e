"""Largest element of images."""

from __future__ import annotations

from graphcore import ops
from graphcore.layers.base_global_pooling import BaseGlobalPooling


class GlobalMaxPooling2D(BaseGlobalPooling):
    """The largest element of each channel. Arguments as for `BaseGlobalPooling`.

    Input: (batch, height, width, channels). Output: (batch, channels), or (batch, 1, 1, channels) with `keepdims`.
    """

    rank = 2
    reduction = staticmethod(ops.max)
