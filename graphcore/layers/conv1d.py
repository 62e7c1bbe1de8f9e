"""Convolution over sequences."""

from __future__ import annotations

from graphcore.layers.base_conv import BaseConv


class Conv1D(BaseConv):
    """Convolution over one axis, such as time.

    Arguments as for `Conv2D`, with one integer where that takes two. `padding="causal"` pads
    `dilation_rate · (kernel_size - 1)` zeros before the first step, so that no output sees later steps.

    Input: (batch, steps, channels). Output: (batch, new_steps, filters). Weights: kernel
    (kernel_size, channels / groups, filters), bias (filters,).
    """

    rank = 1
    paddings = ("valid", "same", "causal")
