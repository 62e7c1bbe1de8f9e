"""The base of all initializers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
InitializerLike = "Initializer | str | dict[str, Any] | Callable[..., Any] | Array | None"


class Initializer:
    """Makes the first value of a weight.

    Subclasses implement `__call__(shape, dtype=None)`, which returns a NumPy array, and `get_config`.
    """

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement `__call__(self, shape, dtype=None)` and return an array."
        )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An initializer with the constructor arguments `config`."""
        return cls(**config)

    def clone(self) -> Self:
        """A new initializer with the same configuration."""
        return type(self).from_config(self.get_config())


def standard_dtype(dtype: Any) -> str:
    """The NumPy name of a dtype; None is float32."""
    return "float32" if dtype is None else np.dtype(dtype).name
