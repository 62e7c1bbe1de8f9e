"""Convolution over images."""

from __future__ import annotations

from graphcore.layers.base_conv import BaseConv


class Conv2D(BaseConv):
    """Convolution over two axes: each filter is moved over the image and multiplied with what lies under it.

    Args:
        filters: number of filters: channels of the output.
        kernel_size: height and width of the filters, one integer for both.
        strides: step of the filters, one integer for both axes.
        padding: `"valid"` (output extent `floor((input - reach) / stride) + 1`, with reach
            `dilation · (kernel - 1) + 1`) or `"same"` (`ceil(input / stride)`; where the padding is odd, the extra
            row or column is at the end).
        data_format: `"channels_last"` (default) or `"channels_first"`; the kernel's layout is the same for both.
        dilation_rate: distance between the elements of a filter; not together with strides.
        groups: number of groups of channels that are convolved separately; divides channels and filters.
        activation: name or function; None is linear.
        use_bias: whether to add a bias.
        kernel_initializer, bias_initializer: first values; `glorot_uniform` and `zeros`.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties.
        kernel_constraint, bias_constraint: projections after each optimizer step.
        kwargs: see `Layer`.

    Input: (batch, height, width, channels). Output: (batch, new_height, new_width, filters). Weights: kernel
    (kernel_height, kernel_width, channels / groups, filters), bias (filters,).

    Raises:
        ValueError: arguments outside these values, unknown channels, or an output without elements.
    """

    rank = 2
