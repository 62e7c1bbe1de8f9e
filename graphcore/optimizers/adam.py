"""Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from graphcore import ops
from graphcore.optimizers.bias_correction import one_minus_power
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.options import Options
from graphcore.variable import Variable


class Adam(Optimizer):
    """Steps by moving averages of the gradient and of its square (Kingma and Ba, 2015).

    With t counted from 1: `m += (1 - beta_1)(g - m)`, `v += (1 - beta_2)(g² - v)`,
    `w -= learning_rate · sqrt(1 - beta_2^t) / (1 - beta_1^t) · m / (sqrt(v) + epsilon)`. Epsilon is the
    paper's "epsilon hat", outside the correction of v.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: decay of the average of gradients.
        beta_2: decay of the average of squares.
        epsilon: keeps the division finite.
        amsgrad: divide by the largest v so far (Reddi et al., 2018).
        options: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of these variables."""
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        if self.amsgrad:
            self._velocity_hats = self.add_optimizer_variables(variables, "velocity_hat")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """One step for one variable."""
        rate, correction = self._once(
            learning_rate, ("rate", variable.dtype), lambda: self._rate(learning_rate, variable.dtype)
        )
        gradient = ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        if self.amsgrad:
            largest = self._velocity_hats[index]
            self.assign(largest, ops.maximum(largest, velocity))
            velocity = largest
        self.assign_sub(variable, momentum * (rate * correction) / (ops.sqrt(velocity) + self.epsilon))

    def _rate(self, learning_rate: Any, dtype: str) -> tuple[Any, Any]:
        """The learning rate, and what corrects the averages for their start at zero."""
        rate = ops.cast(learning_rate, dtype)
        step = ops.cast(self.iterations + 1, dtype)
        return rate, ops.sqrt(one_minus_power(self.beta_2, step)) / one_minus_power(self.beta_1, step)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }
