"""Mean of windows over sequences."""

from __future__ import annotations

from graphcore import ops
from graphcore.layers.base_pooling import BasePooling


class AveragePooling1D(BasePooling):
    """The mean of each window of one axis. Arguments as for `AveragePooling2D`.

    Input: (batch, steps, channels). Output: (batch, new_steps, channels).
    """

    rank = 1
    reduction = staticmethod(ops.average_pool)
