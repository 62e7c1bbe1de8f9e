"""The base of learning rate schedules."""

from __future__ import annotations

from typing import Any, Self

from graphcore import config, ops


class LearningRateSchedule:
    """Maps the number of optimizer steps done so far to a learning rate.

    Subclasses implement `__call__(step)` with functions of `keras.ops` (`step` is an integer scalar, traced
    into the training step) and `get_config`.
    """

    name = ""

    def __call__(self, step: Any) -> Any:
        """The learning rate after `step` steps, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must implement `__call__(self, step)`.")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        raise NotImplementedError(f"{type(self).__name__} must implement `get_config` to be saved.")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A schedule with the constructor arguments `config`."""
        return cls(**config)


def as_float(step: Any) -> Any:
    """The step as a float scalar."""
    return ops.cast(step, config.floatx())


def checked_steps(value: Any, argument: str) -> Any:
    """`value`, if it is positive."""
    if value <= 0:
        raise ValueError(f"Expected `{argument}` > 0. Received: {argument}={value}")
    return value
