"""Depthwise convolution over sequences."""

from __future__ import annotations

from graphcore.layers.base_depthwise_conv import BaseDepthwiseConv


class DepthwiseConv1D(BaseDepthwiseConv):
    """Depthwise convolution over one axis. Arguments as for `DepthwiseConv2D`, with one integer for two.

    Input: (batch, steps, channels). Output: (batch, new_steps, channels · depth_multiplier).
    """

    rank = 1
