"""Inputs as they are."""

from __future__ import annotations

from typing import Any

from graphcore.layers.layer import Layer


class Identity(Layer):
    """Returns its inputs (a tensor or a structure of tensors). Takes the arguments of `Layer`."""

    supports_masking = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return super().get_config()
