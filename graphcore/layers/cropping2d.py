"""Images without their borders."""

from __future__ import annotations

from typing import Any

from graphcore.layers.arguments import border_argument, with_batch_and_channels
from graphcore.layers.base_cropping import crop
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.settings import standardize_data_format


class Cropping2D(Layer):
    """Removes rows and columns.

    Args:
        cropping: one integer for all sides; two (height, width), symmetric; or pairs ((top, bottom), (left, right)).
        data_format: `"channels_last"` (default) or `"channels_first"`.
        kwargs: see `Layer`.

    Input: (batch, height, width, channels).

    Raises:
        ValueError: another structure, a negative amount, or nothing left.
    """

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.cropping = border_argument(cropping, 2, "cropping", "Cropping2D")
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return crop(inputs, with_batch_and_channels(self.cropping, self.data_format), "Cropping2D")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "cropping": self.cropping, "data_format": self.data_format}
