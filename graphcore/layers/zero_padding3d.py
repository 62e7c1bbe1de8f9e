"""Zeros around volumes."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.arguments import border_argument, with_batch_and_channels
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.settings import standardize_data_format


class ZeroPadding3D(Layer):
    """Adds zeros on all sides of volumes.

    Args:
        padding: one integer for all sides, three (symmetric), or three pairs (before, after).
        data_format: `"channels_last"` (default) or `"channels_first"`.
        kwargs: see `Layer`.

    Input: (batch, depth, height, width, channels).

    Raises:
        ValueError: another structure, or a negative amount.
    """

    def __init__(self, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.padding = border_argument(padding, 3, "padding", "ZeroPadding3D")
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return ops.pad(inputs, with_batch_and_channels(self.padding, self.data_format))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "padding": self.padding, "data_format": self.data_format}
