"""RMSprop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from graphcore import ops
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.options import Options
from graphcore.variable import Variable


class RMSprop(Optimizer):
    """Divides the gradient by the root of a moving average of its square (Hinton, 2012).

    `v = rho · v + (1 - rho) · g²`, `step = learning_rate · g / sqrt(v + epsilon)`: epsilon is inside the
    root. With momentum, `m = momentum · m + step`, `w -= m`.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        rho: decay of the average.
        momentum: decay of the velocity; 0 keeps none.
        epsilon: keeps the division finite.
        centered: divide by an estimate of the variance: subtract the square of the average gradient.
        options: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of these variables."""
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        if self.momentum > 0:
            self._momentums = self.add_optimizer_variables(variables, "momentum")
        if self.centered:
            self._average_gradients = self.add_optimizer_variables(variables, "average_gradient")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """One step for one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        velocity = self._velocities[index]
        self.assign(velocity, self.rho * velocity + (1 - self.rho) * ops.square(gradient))
        denominator = velocity + self.epsilon
        if self.centered:
            average = self._average_gradients[index]
            self.assign(average, self.rho * average + (1 - self.rho) * gradient)
            denominator = velocity - ops.square(average) + self.epsilon
        step = rate * gradient / ops.sqrt(denominator)
        if self.momentum <= 0:
            self.assign_sub(variable, step)
            return
        momentum = self._momentums[index]
        self.assign(momentum, self.momentum * momentum + step)
        self.assign_sub(variable, momentum)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }
