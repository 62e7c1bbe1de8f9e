"""Initializers that draw nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore.initializers.initializer import Array, Initializer, standard_dtype


class Constant(Initializer):
    """Every element is `value` (a number, or an array that broadcasts to the shape)."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        return np.array(np.broadcast_to(np.asarray(self.value, standard_dtype(dtype)), tuple(shape)))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        value = self.value
        return {"value": value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value}


class Zeros(Initializer):
    """Every element is 0."""

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        return np.zeros(tuple(shape), standard_dtype(dtype))


class Ones(Initializer):
    """Every element is 1."""

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        return np.ones(tuple(shape), standard_dtype(dtype))


class Identity(Initializer):
    """The identity matrix times `gain`; ones on the diagonal where the shape (rows, columns) is not square.

    Raises:
        ValueError: the shape is not two-dimensional.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        if len(shape) != 2:
            raise ValueError(
                f"Identity initializes matrices only: expected a shape of rank 2. Received: "
                f"shape={tuple(shape)} of rank {len(shape)}."
            )
        rows, columns = shape
        return (self.gain * np.eye(rows, columns)).astype(standard_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"gain": self.gain}
