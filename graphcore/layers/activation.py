"""An activation function as a layer."""

from __future__ import annotations

from typing import Any

from graphcore import activations
from graphcore.layers.layer import Layer


class Activation(Layer):
    """Applies an activation function.

    Args:
        activation: name or function; see `keras.activations`.
        kwargs: see `Layer`.
    """

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return self.activation(inputs)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "activation": activations.serialize(self.activation)}
