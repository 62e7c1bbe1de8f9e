"""Adadelta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from graphcore import ops
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.options import Options
from graphcore.variable import Variable


class Adadelta(Optimizer):
    """Steps as long as past steps were, relative to past gradients (Zeiler, 2012).

    `a = rho · a + (1 - rho) · g²`, `d = -sqrt(b + epsilon) / sqrt(a + epsilon) · g`,
    `b = rho · b + (1 - rho) · d²`, `w += learning_rate · d`. The paper's learning rate is 1.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        rho: decay of both averages.
        epsilon: keeps the division finite and starts the first step.
        options: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.epsilon = epsilon

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of these variables."""
        if self.built:
            return
        super().build(variables)
        self._accumulated_gradients, self._accumulated_deltas = self.add_optimizer_variables(
            variables, ["accumulated_grad", "accumulated_delta_var"]
        )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """One step for one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        gradients, deltas = self._accumulated_gradients[index], self._accumulated_deltas[index]
        self.assign(gradients, self.rho * gradients + (1 - self.rho) * ops.square(gradient))
        delta = -(ops.sqrt(deltas + self.epsilon) * gradient / ops.sqrt(gradients + self.epsilon))
        self.assign(deltas, self.rho * deltas + (1 - self.rho) * ops.square(delta))
        self.assign_add(variable, rate * delta)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}
