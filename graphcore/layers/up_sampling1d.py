"""Longer sequences."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.arguments import positive_integer
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer


class UpSampling1D(Layer):
    """Repeats each step `size` times.

    Args:
        size: number of repetitions.
        kwargs: see `Layer`.

    Input: (batch, steps, channels). Output: (batch, steps · size, channels).

    Raises:
        ValueError: `size` is no positive integer.
    """

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = positive_integer(size, "size", "UpSampling1D")
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return ops.repeat(inputs, self.size, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "size": self.size}
