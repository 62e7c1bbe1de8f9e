"""Long short-term memory."""

from __future__ import annotations

from typing import Any

from graphcore.layers.base_recurrent import CellAttribute, GatedRecurrent, gated_cell_options
from graphcore.layers.lstm_cell import LSTMCell


class LSTM(GatedRecurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997); the step is that of `LSTMCell`.

    Args:
        units: size of the output and of each state.
        activation: name or function; None is linear.
        recurrent_activation: that of the gates.
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: first values.
        unit_forget_bias: whether the biases of the forget gate begin with 1.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties.
        activity_regularizer: penalty of the output.
        kernel_constraint, recurrent_constraint, bias_constraint: projections after each optimizer step.
        dropout, recurrent_dropout: shares of the inputs and of the state that are dropped in training, the same ones
            at every step of a sequence.
        seed: integer or `SeedGenerator`.
        return_sequences, return_state, go_backwards, stateful, unroll: see `RNN`.
        use_cudnn: accepted; there is one implementation.
        kwargs: see `RNN` (`zero_output_for_mask`) and `Layer`.

    Input: (batch, steps, features). Output, masks and states: see `RNN`. Weights: those of `LSTMCell`.

    Raises:
        ValueError: `units` is no positive integer.
    """

    recurrent_activation = CellAttribute()
    unit_forget_bias = CellAttribute()

    def __init__(
        self,
        units: int,
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
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        cell = LSTMCell(
            units, activation=activation, recurrent_activation=recurrent_activation, use_bias=use_bias,
            kernel_initializer=kernel_initializer, recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer, unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint, dropout=dropout,
            recurrent_dropout=recurrent_dropout, seed=seed, name="lstm_cell", **gated_cell_options(kwargs),
        )  # fmt: skip
        super().__init__(
            cell, return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer,
            use_cudnn=use_cudnn, **kwargs,
        )  # fmt: skip
