"""Convolutional long short-term memory on sequences of images."""

from graphcore.layers.base_conv_lstm import BaseConvLSTM


class ConvLSTM2D(BaseConvLSTM):
    """Long short-term memory with convolutions in the place of products (Shi et al., 2015), on sequences of images.

    Args:
        filters: channels of the output and of both states.
        kernel_size, strides, padding, data_format, dilation_rate: of the convolution of the inputs, see `Conv2D`; that
            of the state has the same kernel size, strides of 1 and padding 'same'.
        activation, recurrent_activation, use_bias, unit_forget_bias: see `LSTM`.
        kernel_initializer, recurrent_initializer, bias_initializer: first values.
        kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer: penalties.
        kernel_constraint, recurrent_constraint, bias_constraint: projections after each optimizer step.
        dropout, recurrent_dropout: shares of the inputs and of the output's state that are dropped in training, other
            ones for each gate, the same ones at every step of a sequence.
        seed: integer or `SeedGenerator`.
        return_sequences, return_state, go_backwards, stateful: see `RNN`.
        kwargs: see `RNN` and `Layer`.

    Input: (batch, steps, rows, columns, channels), or (batch, steps, channels, rows, columns) with
    'channels_first'. Output: the last step's, or with `return_sequences` all steps'.

    Raises:
        ValueError: an argument out of its range; unknown spatial extents.
    """

    rank = 2
