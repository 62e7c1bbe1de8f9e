"""One step of long short-term memory."""

from __future__ import annotations

from typing import Any

from graphcore import initializers, ops
from graphcore.layers.rnn_cell import RecurrentCell, States


class LSTMCell(RecurrentCell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), with a forget gate and without peepholes.

        i, f, z, o = inputs @ kernel + states[0] @ recurrent_kernel + bias        (blocks of columns, in this order)
        carry = sigmoid(f) * states[1] + sigmoid(i) * tanh(z)
        output = sigmoid(o) * tanh(carry)

    Args:
        units: size of the output and of both states.
        activation: in the place of tanh; None is linear.
        recurrent_activation: in the place of sigmoid.
        use_bias: whether to add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: first values.
        unit_forget_bias: whether the biases of the forget gate begin with 1 (Jozefowicz et al., 2015).
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties.
        kernel_constraint, recurrent_constraint, bias_constraint: projections after each optimizer step.
        dropout, recurrent_dropout: shares of the inputs and of the output's state that are dropped in training, the
            same ones at every step of a sequence; with recurrent dropout other ones for each gate.
        seed: integer or `SeedGenerator`.
        kwargs: see `Layer`; `implementation=1` makes the inputs' dropout another one for each gate, too.

    Call: (inputs (batch, features), [output's state, carry]) -> (output (batch, units), [output, carry]).
    Weights: kernel (features, 4 units), recurrent_kernel (units, 4 units), bias (4 units,).

    Raises:
        ValueError: `units` is no positive integer.
    """

    gates = 4
    state_count = 2

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
        self._use_gates(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias

    def _build_bias(self, columns: int) -> None:
        initial = self.bias_initializer
        self._build_bias_from(forget_bias(initial, self.units) if self.unit_forget_bias else initial, columns)

    def advance(self, projected: Any, states: States, training: Any) -> list[Any]:
        """The output and the carry."""
        gates = ops.split(projected + self.recur(states[0], training), 4, axis=-1)
        return advance_memory(gates, states[1], self.activation, self.recurrent_activation)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), **self._gates_config(), "unit_forget_bias": self.unit_forget_bias}


def advance_memory(gates: Any, carry: Any, activation: Any, recurrent_activation: Any) -> list[Any]:
    """The output and the new carry from the sums of the input, forget, candidate and output gates."""
    admitted = recurrent_activation(gates[0])
    kept = recurrent_activation(gates[1])
    new = kept * carry + admitted * activation(gates[2])
    return [recurrent_activation(gates[3]) * activation(new), new]


def forget_bias(initializer: Any, units: int) -> Any:
    """An initializer of all gates' biases that gives ones to the forget gate and leaves the others to `initializer`."""

    def initial(_: Any, dtype: Any = None) -> Any:
        inputs, forget = initializer((units,), dtype=dtype), initializers.Ones()((units,), dtype=dtype)
        return ops.concatenate([inputs, forget, initializer((2 * units,), dtype=dtype)])

    return initial
