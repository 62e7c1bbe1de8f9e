"""Inputs in another unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphcore import ops
from graphcore.layers.layer import Layer
from graphcore.settings import image_data_format


class Rescaling(Layer):
    """`inputs · scale + offset`, in the layer's float type whatever the inputs' type.

    Args:
        scale: a number, or one a channel (last axis, or axis -3 with `image_data_format()` channels_first).
        offset: likewise.
        kwargs: see `Layer`.

    `Rescaling(1 / 255)` maps pixels 0..255 to [0, 1]; `Rescaling(1 / 127.5, offset=-1)` to [-1, 1].
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.offset = offset

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        x = ops.cast(inputs, self.compute_dtype)
        return x * self._along_channels(self.scale) + self._along_channels(self.offset)

    def _along_channels(self, value: Any) -> Any:
        if np.ndim(value) == 0:
            return float(value)
        array = np.asarray(value, self.compute_dtype)
        if image_data_format() == "channels_first":
            array = array.reshape(array.shape + (1,) * (3 - array.ndim))
        return array

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "scale": _plain(self.scale), "offset": _plain(self.offset)}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
