"""Steps that do not count."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.layer import Layer


class Masking(Layer):
    """Masks the steps whose features all equal `mask_value`, and sets them to 0.

    Args:
        mask_value: the value of padding.
        kwargs: see `Layer`.

    Input and output: (batch, steps, features); the mask is (batch, steps).
    """

    supports_masking = True

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """False where all features equal the value."""
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        valid = ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        return ops.where(valid, inputs, 0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "mask_value": self.mask_value}
