"""Transposed convolution over volumes."""

from __future__ import annotations

from graphcore.layers.base_conv_transpose import BaseConvTranspose


class Conv3DTranspose(BaseConvTranspose):
    """Transposed convolution over three axes. Arguments as for `Conv2DTranspose`, with three integers for two.

    Input: (batch, depth, height, width, channels). Output: (batch, new_depth, new_height, new_width, filters).
    """

    rank = 3
