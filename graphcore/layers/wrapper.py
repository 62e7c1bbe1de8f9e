"""Layers around a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore.layers.layer import Layer
from graphcore.layers.nesting import deserialize_nested, serialize_nested


class Wrapper(Layer):
    """A layer that changes how another one is called: the base of `TimeDistributed`.

    Args:
        layer: the layer inside.
        kwargs: see `Layer`.

    Raises:
        ValueError: `layer` is no layer.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        require_layer(layer, type(self).__name__)
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        """Create the weights of the layer inside for inputs of this shape."""
        if not self.layer.built:
            self.layer.build(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "layer": serialize_nested(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The layer that `get_config` described."""
        rest = dict(config)
        return cls(deserialize_nested(rest.pop("layer"), custom_objects), **rest)


def require_layer(layer: Any, owner: str) -> None:
    """Raise ValueError if this is no layer."""
    if not isinstance(layer, Layer):
        raise ValueError(f"{owner}: expected a layer to wrap. Received: {layer!r} (of type {type(layer).__name__})")
