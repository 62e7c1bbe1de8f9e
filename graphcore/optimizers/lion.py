"""Lion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from graphcore import ops
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.options import Options
from graphcore.variable import Variable


class Lion(Optimizer):
    """Steps of one size along the sign of an interpolated momentum (Chen et al., 2023).

    `w -= learning_rate · sign(beta_1 · m + (1 - beta_1) · g)`, then `m = beta_2 · m + (1 - beta_2) · g`. The
    learning rate should be a third to a tenth of Adam's.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: share of the momentum in the step, in (0, 1].
        beta_2: decay of the momentum.
        options: see `Optimizer`.

    Raises:
        ValueError: `beta_1` outside (0, 1].
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        if beta_1 <= 0 or beta_1 > 1:
            raise ValueError(f"Expected `beta_1` in (0, 1]. Received: beta_1={beta_1}")
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of these variables."""
        if self.built:
            return
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """One step for one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        momentum = self._momentums[self._get_variable_index(variable)]
        self.assign_sub(variable, rate * ops.sign(momentum * self.beta_1 + gradient * (1.0 - self.beta_1)))
        self.assign(momentum, momentum * self.beta_2 + gradient * (1.0 - self.beta_2))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2}
