"""What convolutional long short-term memory of every rank shares."""

from __future__ import annotations

from typing import Any, ClassVar

from graphcore.layers.base_recurrent import BaseRecurrent, CellAttribute, cell_options
from graphcore.layers.conv_lstm_cell import ConvLSTMCell
from graphcore.layers.input_spec import InputSpec


class BaseConvLSTM(BaseRecurrent):
    """Long short-term memory on sequences of images: see `ConvLSTM2D`."""

    rank: ClassVar[int]

    filters = CellAttribute()
    kernel_size = CellAttribute()
    strides = CellAttribute()
    padding = CellAttribute()
    data_format = CellAttribute()
    dilation_rate = CellAttribute()
    recurrent_activation = CellAttribute()
    unit_forget_bias = CellAttribute()

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ) -> None:
        cell = ConvLSTMCell(
            self.rank, filters, kernel_size, strides=strides, padding=padding, data_format=data_format,
            dilation_rate=dilation_rate, activation=activation, recurrent_activation=recurrent_activation,
            use_bias=use_bias, kernel_initializer=kernel_initializer, recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer, unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint, dropout=dropout,
            recurrent_dropout=recurrent_dropout, seed=seed, name="conv_lstm_cell", **cell_options(kwargs),
        )  # fmt: skip
        super().__init__(
            cell, return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, activity_regularizer=activity_regularizer, **kwargs,
        )  # fmt: skip
        self.input_spec = InputSpec(ndim=self.rank + 3)

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """By rule, without building."""
        batch, steps, *rest = sequences_shape
        image = self.cell.image_shape((batch, *rest))
        shape = (batch, steps, *image[1:]) if self.return_sequences else image
        return (shape, image, image) if self.return_state else shape
