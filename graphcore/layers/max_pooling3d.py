"""Largest element of windows over volumes."""

from __future__ import annotations

from graphcore import ops
from graphcore.layers.base_pooling import BasePooling


class MaxPooling3D(BasePooling):
    """The largest element of each window of three axes. Arguments as for `MaxPooling2D`.

    Input: (batch, depth, height, width, channels).
    """

    rank = 3
    reduction = staticmethod(ops.max_pool)
