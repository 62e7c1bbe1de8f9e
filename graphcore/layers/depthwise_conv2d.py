"""Depthwise convolution over images."""

from __future__ import annotations

from graphcore.layers.base_depthwise_conv import BaseDepthwiseConv


class DepthwiseConv2D(BaseDepthwiseConv):
    """Convolution of each channel by itself, with `depth_multiplier` filters a channel.

    Args:
        kernel_size: height and width of the filters, one integer for both.
        strides: step of the filters, one integer for both axes.
        padding: `"valid"` or `"same"`, as for `Conv2D`.
        depth_multiplier: filters a channel; output channel `c · depth_multiplier + m` is filter m of channel c.
        data_format: `"channels_last"` (default) or `"channels_first"`.
        dilation_rate: distance between the elements of a filter; not together with strides.
        activation: name or function; None is linear.
        use_bias: whether to add a bias.
        depthwise_initializer, bias_initializer: first values; `glorot_uniform` and `zeros`.
        depthwise_regularizer, bias_regularizer, activity_regularizer: penalties.
        depthwise_constraint, bias_constraint: projections after each optimizer step.
        kwargs: see `Layer`.

    Input: (batch, height, width, channels). Output: (batch, new_height, new_width, channels · depth_multiplier).
    Weights: kernel (kernel_height, kernel_width, channels, depth_multiplier), bias.

    Raises:
        ValueError: arguments outside these values, unknown channels, or an output without elements.
    """

    rank = 2
