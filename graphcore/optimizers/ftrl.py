"""FTRL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from graphcore import initializers, ops
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.options import Options
from graphcore.variable import Variable


class Ftrl(Optimizer):
    """Follow the regularized leader, for sparse features (McMahan et al., 2013).

    With n the sum of squared gradients and p = `-learning_rate_power`:
    `z += g + 2 · l2_shrinkage · w - (n_new^p - n^p) / learning_rate · w`,
    `w = (clip(z, ±l1) - z) / (n_new^p / learning_rate + 2 · (l2 + beta / (2 · learning_rate)))`.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        learning_rate_power: at most 0; 0 is a fixed learning rate.
        initial_accumulator_value: first value of n, not negative.
        l1_regularization_strength: l1, not negative.
        l2_regularization_strength: l2, not negative.
        l2_shrinkage_regularization_strength: a penalty on the size of the weights, not negative.
        beta: see the formula.
        options: see `Optimizer`.

    Raises:
        ValueError: an argument outside these values.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        not_negative = {
            "initial_accumulator_value": initial_accumulator_value,
            "l1_regularization_strength": l1_regularization_strength,
            "l2_regularization_strength": l2_regularization_strength,
            "l2_shrinkage_regularization_strength": l2_shrinkage_regularization_strength,
        }
        for name, value in not_negative.items():
            if value < 0.0:
                raise ValueError(f"Expected `{name}` >= 0. Received: {name}={value}")
        if learning_rate_power > 0.0:
            raise ValueError(
                f"Expected `learning_rate_power` <= 0. Received: learning_rate_power={learning_rate_power}"
            )
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of these variables."""
        if self.built:
            return
        super().build(variables)
        start = initializers.Constant(self.initial_accumulator_value)
        self._accumulators, self._linears = self.add_optimizer_variables(
            variables, ["accumulator", "linear"], [start, "zeros"]
        )

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """One step for one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        accumulator, linear = self._accumulators[index], self._linears[index]
        power, l1 = -self.learning_rate_power, self.l1_regularization_strength
        l2 = self.l2_regularization_strength + self.beta / (2.0 * rate)
        total = accumulator + ops.square(gradient)
        raised = ops.power(total, power)
        shrunk = gradient + ops.multiply(2.0 * self.l2_shrinkage_regularization_strength, variable)
        self.assign_add(linear, shrunk - (raised - ops.power(accumulator, power)) / rate * variable)
        self.assign(variable, (ops.clip(linear, -l1, l1) - linear) / (raised / rate + 2.0 * l2))
        self.assign(accumulator, total)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "learning_rate_power": self.learning_rate_power,
            "initial_accumulator_value": self.initial_accumulator_value,
            "l1_regularization_strength": self.l1_regularization_strength,
            "l2_regularization_strength": self.l2_regularization_strength,
            "l2_shrinkage_regularization_strength": self.l2_shrinkage_regularization_strength,
            "beta": self.beta,
        }
