"""Largest element of volumes."""

from __future__ import annotations

from graphcore import ops
from graphcore.layers.base_global_pooling import BaseGlobalPooling


class GlobalMaxPooling3D(BaseGlobalPooling):
    """The largest element of each channel. Arguments as for `BaseGlobalPooling`.

    Input: (batch, depth, height, width, channels). Output: (batch, channels), or (batch, 1, 1, 1, channels).
    """

    rank = 3
    reduction = staticmethod(ops.max)
