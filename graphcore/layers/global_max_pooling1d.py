"""Largest element of sequences."""

from __future__ import annotations

from graphcore import ops
from graphcore.layers.base_global_pooling import BaseGlobalPooling


class GlobalMaxPooling1D(BaseGlobalPooling):
    """The largest element of each channel. Arguments as for `BaseGlobalPooling`.

    Input: (batch, steps, channels). Output: (batch, channels), or (batch, 1, channels) with `keepdims`.
    """

    rank = 1
    reduction = staticmethod(ops.max)
