"""One step of a gated recurrent unit."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.rnn_cell import RecurrentCell, States
from graphcore.layers.weight_arguments import add_named_weight
from graphcore.loop_tracing import outside_loops


class GRUCell(RecurrentCell):
    """A gated recurrent unit (Cho et al., 2014). With x = inputs @ kernel + bias, in blocks of columns z, r, h:

        z, r = sigmoid(x_z + state @ U_z), sigmoid(x_r + state @ U_r)
        candidate = tanh(x_h + r * (state @ U_h + b_h))        with `reset_after`, else tanh(x_h + (r * state) @ U_h)
        output = z * state + (1 - z) * candidate

    Args:
        units: size of the output and the state.
        activation: in the place of tanh; None is linear.
        recurrent_activation: in the place of sigmoid.
        use_bias: whether to add biases.
        kernel_initializer, recurrent_initializer, bias_initializer: first values.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties.
        kernel_constraint, recurrent_constraint, bias_constraint: projections after each optimizer step.
        dropout, recurrent_dropout: shares of the inputs and of the state that are dropped in training, the same ones
            at every step of a sequence; with recurrent dropout other ones for each gate.
        reset_after: whether the reset gate acts after the product with the state (as in cuDNN) or before it.
        seed: integer or `SeedGenerator`.
        kwargs: see `Layer`; `implementation=1` makes the inputs' dropout another one for each gate, too.

    Call: (inputs (batch, features), states) -> (output (batch, units), new states).
    Weights: kernel (features, 3 units), recurrent_kernel (units, 3 units), bias (2, 3 units): of the inputs and of the
    state; (3 units,) without `reset_after`.

    Raises:
        ValueError: `units` is no positive integer.
    """

    gates = 3

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
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
        self.reset_after = reset_after

    def _build_bias(self, columns: int) -> None:
        self.bias = add_named_weight(self, "bias", (2, columns) if self.reset_after else (columns,))

    def _input_bias(self) -> Any:
        return self.bias[0] if self.reset_after and self.bias is not None else self.bias

    def advance(self, projected: Any, states: States, training: Any) -> list[Any]:
        """The new state."""
        (state,) = states
        x_z, x_r, x_h = ops.split(projected, 3, axis=-1)
        if self.reset_after:
            inner = self.recur(state, training)
            if self.bias is not None:
                with outside_loops():
                    bias = self.bias[1]
                inner = inner + bias
            inner_z, inner_r, inner_h = ops.split(inner, 3, axis=-1)
            kept, reset = self.recurrent_activation(x_z + inner_z), self.recurrent_activation(x_r + inner_r)
            candidate = self.activation(x_h + reset * inner_h)
        else:
            inner_z, inner_r = self._before_reset(state, training)
            kept, reset = self.recurrent_activation(x_z + inner_z), self.recurrent_activation(x_r + inner_r)
            candidate = self.activation(x_h + self._after_reset(reset, state, training))
        return [kept * state + (1 - kept) * candidate]

    def _before_reset(self, state: Any, training: Any) -> Any:
        """The state's products with the kernels of z and r."""
        masks = self.recurrent_masks(state, training)
        with outside_loops():  # whole kernels in the loop: the sum of their gradients is then one product
            kernel = self.recurrent_kernel[:, : 2 * self.units]
            kernels = [kernel] if masks is None else ops.split(kernel, 2, axis=1)
        if masks is None:
            return ops.split(ops.matmul(state, kernel), 2, axis=-1)
        return [ops.matmul(state * mask, part) for mask, part in zip(masks, kernels, strict=False)]

    def _after_reset(self, reset: Any, state: Any, training: Any) -> Any:
        """The reset state's product with the kernel of the candidate."""
        masks = self.recurrent_masks(state, training)
        kept = state if masks is None else state * masks[2]
        with outside_loops():
            kernel = self.recurrent_kernel[:, 2 * self.units :]
        return ops.matmul(reset * kept, kernel)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), **self._gates_config(), "reset_after": self.reset_after}
