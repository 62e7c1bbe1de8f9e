"""Leaky rectified linear unit."""

from __future__ import annotations

import warnings
from typing import Any

from graphcore import activations
from graphcore.layers.layer import Layer


class LeakyReLU(Layer):
    """`inputs` where positive, `negative_slope · inputs` elsewhere (Maas et al., 2013).

    Args:
        negative_slope: slope below 0; 0.3 here, while `keras.activations.leaky_relu` has 0.2.
        kwargs: see `Layer`; Keras 2's `alpha` is taken for `negative_slope`, with a warning.

    Raises:
        ValueError: a negative slope below 0.
    """

    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
            warnings.warn("LeakyReLU: `alpha` is deprecated. Use `negative_slope`.", stacklevel=2)
        super().__init__(**kwargs)
        if negative_slope is None or negative_slope < 0:
            raise ValueError(f"LeakyReLU: expected `negative_slope` >= 0. Received: negative_slope={negative_slope}")
        self.negative_slope = negative_slope

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return activations.leaky_relu(inputs, negative_slope=self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "negative_slope": self.negative_slope}
