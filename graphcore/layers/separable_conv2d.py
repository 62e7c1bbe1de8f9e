"""Separable convolution over images."""

from __future__ import annotations

from graphcore.layers.base_separable_conv import BaseSeparableConv


class SeparableConv2D(BaseSeparableConv):
    """Each channel is convolved by itself, then all are mixed pixel by pixel (Chollet, "Xception", 2017).

    Args:
        filters: channels of the output.
        kernel_size: height and width of the filters, one integer for both.
        strides: step of the filters, one integer for both axes.
        padding: `"valid"` or `"same"`, as for `Conv2D`.
        data_format: `"channels_last"` (default) or `"channels_first"`.
        dilation_rate: distance between the elements of a filter; not together with strides.
        depth_multiplier: filters a channel in the first step.
        activation: name or function; None is linear.
        use_bias: whether to add a bias.
        depthwise_initializer, pointwise_initializer, bias_initializer: first values.
        depthwise_regularizer, pointwise_regularizer, bias_regularizer, activity_regularizer: penalties.
        depthwise_constraint, pointwise_constraint, bias_constraint: projections after each optimizer step.
        kwargs: see `Layer`.

    Input: (batch, height, width, channels). Output: (batch, new_height, new_width, filters). Weights:
    depthwise_kernel (kernel_height, kernel_width, channels, depth_multiplier), pointwise_kernel
    (1, 1, channels · depth_multiplier, filters), bias (filters,).

    Raises:
        ValueError: arguments outside these values, unknown channels, or an output without elements.
    """

    rank = 2
