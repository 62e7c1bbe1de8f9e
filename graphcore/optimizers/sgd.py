"""Gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from graphcore import ops
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.options import Options
from graphcore.variable import Variable


class SGD(Optimizer):
    """`w -= learning_rate · g`; with momentum `m = momentum · m - learning_rate · g`, `w += m`.

    With `nesterov`, `w += momentum · m - learning_rate · g` (Sutskever et al., 2013). The learning rate is
    inside the velocity, so a change of it acts on later gradients only.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        momentum: in [0, 1]; 0 keeps no velocity.
        nesterov: whether to use Nesterov's momentum.
        options: see `Optimizer`.

    Raises:
        ValueError: momentum outside [0, 1].
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        if not 0 <= momentum <= 1:
            raise ValueError(f"Expected `momentum` in [0, 1]. Received: momentum={momentum}")
        self.momentum = float(momentum)
        self.nesterov = nesterov
        self.momentums: list[Variable] = []

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of these variables."""
        if self.built:
            return
        super().build(variables)
        if self.momentum != 0:
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """One step for one variable."""
        step = ops.cast(gradient, variable.dtype) * ops.cast(learning_rate, variable.dtype)
        if self.momentum == 0:
            self.assign_sub(variable, step)
            return
        velocity: Any = self.momentums[self._get_variable_index(variable)]
        self.assign(velocity, velocity * self.momentum - step)
        self.assign_add(variable, velocity * self.momentum - step if self.nesterov else velocity)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}
