"""Convolutional long short-term memory on sequences of volumes."""

from graphcore.layers.base_conv_lstm import BaseConvLSTM


class ConvLSTM3D(BaseConvLSTM):
    """Long short-term memory with convolutions in the place of products (Shi et al., 2015), on sequences of volumes.

    Arguments and weights are those of `ConvLSTM2D`, with three spatial axes.

    Input: (batch, steps, planes, rows, columns, channels), or (batch, steps, channels, planes, rows, columns) with
    'channels_first'. Output: the last step's, or with `return_sequences` all steps'.

    Raises:
        ValueError: an argument out of its range; unknown spatial extents.
    """

    rank = 3
