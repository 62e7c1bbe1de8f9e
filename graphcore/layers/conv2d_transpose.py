"""Transposed convolution over images."""

from __future__ import annotations

from graphcore.layers.base_conv_transpose import BaseConvTranspose


class Conv2DTranspose(BaseConvTranspose):
    """The map from output to input of a convolution, used to make images larger.

    Args:
        filters: channels of the output.
        kernel_size: height and width of the filters, one integer for both.
        strides: factor by which the image grows, one integer for both axes.
        padding: `"valid"` (extent `(input - 1) · stride + max(reach, stride)`, with reach
            `dilation · (kernel - 1) + 1`) or `"same"` (`input · stride`).
        output_padding: elements added at the end of each axis in place of the rule above: `"valid"` gives
            `(input - 1) · stride + reach + output_padding`; below the stride.
        data_format: `"channels_last"` (default) or `"channels_first"`.
        dilation_rate: distance between the elements of a filter; not together with strides.
        activation: name or function; None is linear.
        use_bias: whether to add a bias.
        kernel_initializer, bias_initializer: first values; `glorot_uniform` and `zeros`.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties.
        kernel_constraint, bias_constraint: projections after each optimizer step.
        kwargs: see `Layer`.

    Input: (batch, height, width, channels). Output: (batch, new_height, new_width, filters). Weights: kernel
    (kernel_height, kernel_width, filters, channels), bias (filters,).

    Raises:
        ValueError: arguments outside these values, or unknown channels.
    """

    rank = 2
