"""Rectified linear unit."""

from __future__ import annotations

from typing import Any

from graphcore import activations
from graphcore.layers.layer import Layer


class ReLU(Layer):
    """`max(inputs, 0)` with the default arguments.

    Args:
        max_value: largest output; None is no limit.
        negative_slope: slope below `threshold`.
        threshold: outputs are 0 (or on the negative slope) at and below it.
        kwargs: see `Layer`.

    Raises:
        ValueError: a negative argument.
    """

    supports_masking = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_value is not None and max_value < 0:
            raise ValueError(f"ReLU: expected `max_value` to be None or >= 0. Received: max_value={max_value}")
        for name, value in (("negative_slope", negative_slope), ("threshold", threshold)):
            if value is None or value < 0:
                raise ValueError(f"ReLU: expected `{name}` >= 0. Received: {name}={value}")
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }
