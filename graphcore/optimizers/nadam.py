"""Nadam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from graphcore import config, ops
from graphcore.optimizers.bias_correction import one_minus_power
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.options import Options
from graphcore.variable import Variable

SCHEDULE_DECAY = 0.96


class Nadam(Optimizer):
    """Adam with Nesterov's momentum (Dozat, 2016).

    The momentum rises as `u_t = beta_1 (1 - 0.5 · 0.96^t)`; the product of all u corrects the averages.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: decay of the average of gradients.
        beta_2: decay of the average of squares.
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
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        dtype = variables[0].dtype if variables else config.floatx()
        self._u_product = self.add_variable((), "ones", dtype, name="u_product")

    def _u(self, step: Any) -> Any:
        return self.beta_1 * (1.0 - 0.5 * ops.power(SCHEDULE_DECAY, step))

    def _update(self, gradients: Sequence[Any], variables: Sequence[Variable], learning_rate: Any) -> None:
        step = ops.cast(self.iterations + 1, self._u_product.dtype)
        self.assign(self._u_product, self._u_product * self._u(step))
        super()._update(gradients, variables, learning_rate)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """One step for one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        now, following = self._u(step), self._u(step + 1.0)
        product = ops.cast(self._u_product, variable.dtype)
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        ahead = momentum * (following / (1.0 - product * following))
        mean = ahead + gradient * ((1.0 - now) / (1.0 - product))
        square = velocity / one_minus_power(self.beta_2, step)
        self.assign_sub(variable, mean * rate / (ops.sqrt(square) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }
