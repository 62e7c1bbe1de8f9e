"""Mean of windows over volumes."""

from __future__ import annotations

from graphcore import ops
from graphcore.layers.base_pooling import BasePooling


class AveragePooling3D(BasePooling):
    """The mean of each window of three axes. Arguments as for `AveragePooling2D`.

    Input: (batch, depth, height, width, channels).
    """

    rank = 3
    reduction = staticmethod(ops.average_pool)
