"""Gated recurrent units."""

from __future__ import annotations

from typing import Any

from graphcore.layers.base_recurrent import CellAttribute, GatedRecurrent, gated_cell_options
from graphcore.layers.gru_cell import GRUCell


class GRU(GatedRecurrent):
    """Gated recurrent units (Cho et al., 2014); the step is that of `GRUCell`.

    Args:
        units: size of the output and of each state.
        activation: name or function; None is linear.
        recurrent_activation: that of the gates.
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: first values.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties.
        activity_regularizer: penalty of the output.
        kernel_constraint, recurrent_constraint, bias_constraint: projections after each optimizer step.
        dropout, recurrent_dropout: shares of the inputs and of the state that are dropped in training, the same ones
            at every step of a sequence.
        reset_after: whether the reset gate acts after the product with the state or before it.
        seed: integer or `SeedGenerator`.
        return_sequences, return_state, go_backwards, stateful, unroll: see `RNN`.
        use_cudnn: accepted; there is one implementation.
        kwargs: see `RNN` (`zero_output_for_mask`) and `Layer`.

    Input: (batch, steps, features). Output, masks and states: see `RNN`. Weights: those of `GRUCell`.

    Raises:
        ValueError: `units` is no positive integer.
    """

    recurrent_activation = CellAttribute()
    reset_after = CellAttribute()

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
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
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        cell = GRUCell(
            units, activation=activation, recurrent_activation=recurrent_activation, use_bias=use_bias,
            kernel_initializer=kernel_initializer, recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer, bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint, recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint, dropout=dropout, recurrent_dropout=recurrent_dropout,
            seed=seed, reset_after=reset_after, name="gru_cell", **gated_cell_options(kwargs),
        )  # fmt: skip
        super().__init__(
            cell, return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer,
            use_cudnn=use_cudnn, **kwargs,
        )  # fmt: skip
