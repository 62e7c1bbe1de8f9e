"""Convolutional long short-term memory on sequences of lines."""

from graphcore.layers.base_conv_lstm import BaseConvLSTM


class ConvLSTM1D(BaseConvLSTM):
    """Long short-term memory with convolutions in the place of products (Shi et al., 2015), on sequences of lines.

    Arguments and weights are those of `ConvLSTM2D`, with one spatial axis.

    Input: (batch, steps, columns, channels), or (batch, steps, channels, columns) with
    'channels_first'. Output: the last step's, or with `return_sequences` all steps'.

    Raises:
        ValueError: an argument out of its range; unknown spatial extents.
    """

    rank = 1
