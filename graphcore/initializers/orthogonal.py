"""Orthogonal matrices: Saxe et al., "Exact solutions to the nonlinear dynamics of learning" (2014)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore.initializers.initializer import Array, standard_dtype
from graphcore.initializers.random import RandomInitializer, draw_normal


class Orthogonal(RandomInitializer):
    """An orthogonal matrix times `gain`; more than two axes are flattened to (all but the last, last).

    Where rows and columns differ, the shorter side is orthonormal.

    Raises:
        ValueError: the shape has fewer than two axes.
    """

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        if len(shape) < 2:
            raise ValueError(
                f"Orthogonal needs a shape with at least two axes. Received: shape={tuple(shape)} of rank "
                f"{len(shape)}."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        square = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(draw_normal(self.generator(), square, 0.0, 1.0, "float64"))
        # Without the signs the distribution would not be uniform over orthogonal matrices (Mezzadri, 2007).
        q = q * np.sign(np.diag(r))
        q = q.T if rows < columns else q
        return (self.gain * q.reshape(tuple(shape))).astype(standard_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "gain": self.gain}
