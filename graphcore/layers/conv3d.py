"""Convolution over volumes."""

from __future__ import annotations

from graphcore.layers.base_conv import BaseConv


class Conv3D(BaseConv):
    """Convolution over three axes. Arguments as for `Conv2D`, with three integers where that takes two.

    Input: (batch, depth, height, width, channels). Output: (batch, new_depth, new_height, new_width, filters).
    """

    rank = 3
