"""Transposed convolution over sequences."""

from __future__ import annotations

from graphcore.layers.base_conv_transpose import BaseConvTranspose


class Conv1DTranspose(BaseConvTranspose):
    """Transposed convolution over one axis. Arguments as for `Conv2DTranspose`, with one integer for two.

    Input: (batch, steps, channels). Output: (batch, new_steps, filters).
    """

    rank = 1
