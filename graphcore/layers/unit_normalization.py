"""Vectors of length 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.layer import Layer
from graphcore.layers.layer_normalization import normalized_axes


class UnitNormalization(Layer):
    """Divides each sample by its L2 norm over `axis`.

    Args:
        axis: axis or axes of the norm.
        kwargs: see `Layer`.
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError(f"UnitNormalization: expected `axis` to be one integer or several. Received: {axis!r}")
        self.axis: int | list[int] = axis if isinstance(axis, int) else list(axis)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        axes = normalized_axes(self.axis, len(inputs.shape), "UnitNormalization")
        return ops.normalize(inputs, axis=axes, order=2, epsilon=1e-12)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "axis": self.axis}
