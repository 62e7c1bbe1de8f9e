"""Volumes without their borders."""

from __future__ import annotations

from typing import Any

from graphcore.layers.arguments import border_argument, with_batch_and_channels
from graphcore.layers.base_cropping import crop
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.settings import standardize_data_format


class Cropping3D(Layer):
    """Removes elements on all sides of volumes.

    Args:
        cropping: one integer for all sides, three (symmetric), or three pairs (before, after).
        data_format: `"channels_last"` (default) or `"channels_first"`.
        kwargs: see `Layer`.

    Input: (batch, depth, height, width, channels).

    Raises:
        ValueError: another structure, a negative amount, or nothing left.
    """

    def __init__(self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.cropping = border_argument(cropping, 3, "cropping", "Cropping3D")
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return crop(inputs, with_batch_and_channels(self.cropping, self.data_format), "Cropping3D")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "cropping": self.cropping, "data_format": self.data_format}
