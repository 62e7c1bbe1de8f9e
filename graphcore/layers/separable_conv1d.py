"""Separable convolution over sequences."""

from __future__ import annotations

from graphcore.layers.base_separable_conv import BaseSeparableConv


class SeparableConv1D(BaseSeparableConv):
    """Separable convolution over one axis. Arguments as for `SeparableConv2D`, with one integer for two.

    Input: (batch, steps, channels). Output: (batch, new_steps, filters).
    """

    rank = 1
