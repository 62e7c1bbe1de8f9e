"""Larger images."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.ops.convolution import per_axis
from graphcore.settings import standardize_data_format

INTERPOLATIONS = ("nearest", "bilinear")


def enlarge_linearly(x: Any, factor: int, axis: int) -> Any:
    """`factor` times as many elements along an axis, linearly between neighbours.

    Pixel centres are at half integers, as in `keras.ops.image.resize`: new element `factor · i + p` lies at
    `i + (p + 0.5) / factor - 0.5` and mixes element i with the one before or after. The ends repeat.
    """
    if factor == 1:
        return x
    padded = ops.concatenate([_part(x, axis, slice(0, 1)), x, _part(x, axis, slice(-1, None))], axis=axis)
    start = [0] * len(x.shape)
    before = ops.slice(padded, start, ops.shape(x))
    start[axis] = 2
    after = ops.slice(padded, start, ops.shape(x))
    phases = []
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5
        neighbour = before if offset < 0 else after
        phases.append(x * (1.0 - abs(offset)) + neighbour * abs(offset))
    extents = list(ops.shape(x))
    extents[axis] = extents[axis] * factor
    return ops.reshape(ops.stack(phases, axis=axis + 1), extents)


def _part(x: Any, axis: int, part: slice) -> Any:
    return x[(slice(None),) * axis + (part,)]


class UpSampling2D(Layer):
    """Makes images larger by whole factors.

    Args:
        size: factors for height and width, one integer for both.
        data_format: `"channels_last"` (default) or `"channels_first"`.
        interpolation: `"nearest"` repeats pixels, `"bilinear"` mixes neighbours (half-pixel centres).
        kwargs: see `Layer`.

    Input: (batch, height, width, channels). Output: (batch, height · size[0], width · size[1], channels).

    Raises:
        ValueError: arguments outside these values.
    """

    def __init__(
        self, size: Any = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.size = per_axis(size, 2, "size")
        self.data_format = standardize_data_format(data_format)
        self.interpolation = str(interpolation).lower()
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"UpSampling2D: expected `interpolation` to be one of {INTERPOLATIONS}. Received: "
                f"interpolation={interpolation!r}"
            )
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        first = 2 if self.data_format == "channels_first" else 1
        outputs = inputs
        for axis, factor in enumerate(self.size, start=first):
            if self.interpolation == "nearest":
                outputs = ops.repeat(outputs, factor, axis=axis)
            else:
                outputs = enlarge_linearly(outputs, factor, axis)
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "size": self.size,
            "data_format": self.data_format,
            "interpolation": self.interpolation,
        }
