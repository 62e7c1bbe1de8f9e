"""Larger volumes."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.ops.convolution import per_axis
from graphcore.settings import standardize_data_format


class UpSampling3D(Layer):
    """Repeats voxels.

    Args:
        size: factors for depth, height and width, one integer for all.
        data_format: `"channels_last"` (default) or `"channels_first"`.
        kwargs: see `Layer`.

    Input: (batch, depth, height, width, channels).

    Raises:
        ValueError: factors that are no positive integers.
    """

    def __init__(self, size: Any = (2, 2, 2), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = per_axis(size, 3, "size")
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        first = 2 if self.data_format == "channels_first" else 1
        outputs = inputs
        for axis, factor in enumerate(self.size, start=first):
            outputs = ops.repeat(outputs, factor, axis=axis)
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "size": self.size, "data_format": self.data_format}
