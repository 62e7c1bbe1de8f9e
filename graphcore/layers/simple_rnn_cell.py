"""One step of a fully connected recurrence."""

from __future__ import annotations

from typing import Any

from graphcore.layers.rnn_cell import RecurrentCell, States


class SimpleRNNCell(RecurrentCell):
    """`activation(inputs @ kernel + bias + state @ recurrent_kernel)`, which is the output and the new state.

    Args:
        units: size of the output and the state.
        activation: name or function; None is linear.
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: first values.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties.
        kernel_constraint, recurrent_constraint, bias_constraint: projections after each optimizer step.
        dropout, recurrent_dropout: shares of the inputs and of the state that are dropped in training, the same ones
            at every step of a sequence.
        seed: integer or `SeedGenerator`.
        kwargs: see `Layer`.

    Call: (inputs (batch, features), states) -> (output (batch, units), new states).
    Weights: kernel (features, units), recurrent_kernel (units, units), bias (units,).

    Raises:
        ValueError: `units` is no positive integer.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint, dropout=dropout,
            recurrent_dropout=recurrent_dropout, seed=seed, **kwargs,
        )  # fmt: skip

    def recur(self, state: Any, training: Any) -> Any:
        """state @ recurrent_kernel."""
        masks = self.recurrent_masks(state, training)
        return super().recur(state if masks is None else state * masks, False)

    def advance(self, projected: Any, states: States, training: Any) -> list[Any]:
        """The new state."""
        return [self.activation(projected + self.recur(states[0], training))]
