"""Adamax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from graphcore import ops
from graphcore.optimizers.bias_correction import one_minus_power
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.options import Options
from graphcore.variable import Variable


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the average square (Kingma and Ba, 2015, section 7.1).

    `m += (1 - beta_1)(g - m)`, `u = max(beta_2 · u, |g|)`,
    `w -= learning_rate · m / ((1 - beta_1^t)(u + epsilon))`.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: decay of the average of gradients.
        beta_2: decay of the largest gradient.
        epsilon: keeps the division finite.
        options: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of these variables."""
        if self.built:
            return
        super().build(variables)
        self._momentums, self._norms = self.add_optimizer_variables(variables, ["momentum", "norm"])

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """One step for one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        index = self._get_variable_index(variable)
        momentum, norm = self._momentums[index], self._norms[index]
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign(norm, ops.maximum(self.beta_2 * norm, ops.absolute(gradient)))
        scaled = rate / one_minus_power(self.beta_1, step)
        self.assign_sub(variable, momentum * scaled / (norm + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }
