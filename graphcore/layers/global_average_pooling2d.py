"""Mean of images."""

from __future__ import annotations

from graphcore import ops
from graphcore.layers.base_global_pooling import BaseGlobalPooling


class GlobalAveragePooling2D(BaseGlobalPooling):
    """The mean of each channel. Arguments as for `BaseGlobalPooling`.

    Input: (batch, height, width, channels). Output: (batch, channels), or (batch, 1, 1, channels) with `keepdims`.
    """

    rank = 2
    reduction = staticmethod(ops.mean)
