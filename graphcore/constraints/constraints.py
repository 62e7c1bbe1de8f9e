"""The weight constraints of Keras. Norms are L2 norms over `axis`, which stays as an axis of size 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from graphcore import config, ops


class Constraint:
    """Maps a weight to the weight that takes its place. Subclasses implement `__call__` and `get_config`."""

    def __call__(self, w: Any) -> Any:
        """The projected weight, of the same shape."""
        return w

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A constraint with the constructor arguments `config`."""
        return cls(**config)


def _norms(w: Any, axis: int | Sequence[int]) -> Any:
    return ops.sqrt(ops.sum(ops.square(w), axis=axis, keepdims=True))


class MaxNorm(Constraint):
    """Norms over `axis` are at most `max_value`.

    `axis=0` constrains the incoming weights of each unit of a Dense kernel; `[0, 1, 2]` those of each filter
    of a Conv2D kernel. (Srivastava et al., "Dropout", 2014.)
    """

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] = 0) -> None:
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """The projected weight, of the same shape."""
        norms = _norms(w, self.axis)
        return w * (ops.clip(norms, 0, self.max_value) / (config.epsilon() + norms))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"max_value": self.max_value, "axis": self.axis}


class NonNeg(Constraint):
    """Negative weights become 0."""

    def __call__(self, w: Any) -> Any:
        """The projected weight, of the same shape."""
        return ops.maximum(w, 0)


class UnitNorm(Constraint):
    """Norms over `axis` are 1."""

    def __init__(self, axis: int | Sequence[int] = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """The projected weight, of the same shape."""
        return w / (config.epsilon() + _norms(w, self.axis))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"axis": self.axis}


class MinMaxNorm(Constraint):
    """Norms over `axis` move towards [min_value, max_value], by the share `rate` (1: at once)."""

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] = 0,
    ) -> None:
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """The projected weight, of the same shape."""
        norms = _norms(w, self.axis)
        clipped = ops.clip(norms, self.min_value, self.max_value)
        desired = self.rate * clipped + (1 - self.rate) * norms
        return w * (desired / (config.epsilon() + norms))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }
