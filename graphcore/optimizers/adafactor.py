"""Adafactor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from graphcore import ops
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.options import Options
from graphcore.variable import Variable


def _root_mean_square(x: Any) -> Any:
    return ops.sqrt(ops.mean(ops.square(x)))


class Adafactor(Optimizer):
    """Adam whose average of squares is a product of a row and a column average (Shazeer and Stern, 2018).

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_2_decay: the average's decay is `1 - t^beta_2_decay`.
        epsilon_1: added to squared gradients.
        epsilon_2: smallest scale of a weight.
        clip_threshold: largest root mean square of a step.
        relative_step: let the learning rate fall as 1 / sqrt(t) at least (numbers only).
        options: see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = epsilon_1
        self.epsilon_2 = epsilon_2
        self.clip_threshold = clip_threshold
        self.relative_step = relative_step

    def build(self, variables: Sequence[Variable]) -> None:
        """Create the slots of these variables."""
        if self.built:
            return
        super().build(variables)
        self._rows: dict[int, Variable] = {}
        self._columns: dict[int, Variable] = {}
        self._velocities: list[Variable] = []
        for index, variable in enumerate(variables):
            name = variable.path.replace("/", "_")
            if len(variable.shape) >= 2:
                shapes = variable.shape[:-1], (*variable.shape[:-2], variable.shape[-1])
                self._rows[index] = self.add_variable(shapes[0], dtype=variable.dtype, name=f"{name}_row")
                self._columns[index] = self.add_variable(shapes[1], dtype=variable.dtype, name=f"{name}_column")
            else:  # Keras keeps two unused numbers in their places, in its files too
                self.add_variable((), dtype="int32", name=f"{name}_row")
                self.add_variable((), dtype="int32", name=f"{name}_column")
            self._velocities.append(self.add_variable_from_reference(variable, "velocity"))

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """One step for one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        falling = ops.rsqrt(step)
        if self.relative_step and not callable(self._learning_rate):
            rate = ops.minimum(rate, falling)
        size = ops.maximum(_root_mean_square(variable), self.epsilon_2) * ops.minimum(rate, falling)
        velocity = self._average_squares(ops.square(gradient) + self.epsilon_1, step, variable)
        update = gradient / ops.sqrt(velocity)
        update = update / ops.maximum(_root_mean_square(update) / self.clip_threshold, 1.0)
        self.assign_sub(variable, size * update)

    def _average_squares(self, squares: Any, step: Any, variable: Variable) -> Variable:
        index = self._get_variable_index(variable)
        velocity = self._velocities[index]
        new = ops.power(step, self.beta_2_decay)
        if index not in self._rows:
            self.assign(velocity, (1.0 - new) * velocity + new * squares)
            return velocity
        row, column = self._rows[index], self._columns[index]
        self.assign(row, (1.0 - new) * row + new * ops.mean(squares, axis=-1))
        self.assign(column, (1.0 - new) * column + new * ops.mean(squares, axis=-2))
        share = row / ops.mean(row, axis=-1, keepdims=True)
        self.assign(velocity, ops.expand_dims(share, -1) * ops.expand_dims(column, -2))
        return velocity

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "beta_2_decay": self.beta_2_decay,
            "epsilon_1": self.epsilon_1,
            "epsilon_2": self.epsilon_2,
            "clip_threshold": self.clip_threshold,
            "relative_step": self.relative_step,
        }
