"""Mean of windows over images."""

from __future__ import annotations

from graphcore import ops
from graphcore.layers.base_pooling import BasePooling


class AveragePooling2D(BasePooling):
    """The mean of each window: of the elements that are there, padding does not count.

    Arguments, shapes and errors as for `MaxPooling2D`.
    """

    rank = 2
    reduction = staticmethod(ops.average_pool)
