"""Sequences without their ends."""

from __future__ import annotations

from typing import Any

from graphcore.layers.arguments import border_argument
from graphcore.layers.base_cropping import crop
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer


class Cropping1D(Layer):
    """Removes steps at both ends.

    Args:
        cropping: one integer for both ends, or a pair (before, after).
        kwargs: see `Layer`.

    Input: (batch, steps, channels).

    Raises:
        ValueError: another structure, a negative amount, or nothing left.
    """

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        (self.cropping,) = border_argument(
            cropping if isinstance(cropping, int) else (cropping,), 1, "cropping", "Cropping1D"
        )
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return crop(inputs, ((0, 0), self.cropping, (0, 0)), "Cropping1D")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "cropping": self.cropping}
