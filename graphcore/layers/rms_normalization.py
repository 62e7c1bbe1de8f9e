"""Root mean square normalisation: Zhang and Sennrich (2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.layer import Layer
from graphcore.layers.layer_normalization import known_extents, normalized_axes


class RMSNormalization(Layer):
    """`scale · inputs / sqrt(mean(inputs²) + epsilon)`, with the mean of each sample over `axis`.

    Args:
        axis: axis or axes to normalise over.
        epsilon: added to the mean square.
        kwargs: see `Layer`.

    Weights: scale, of the shape of the normalised axes, first 1.
    """

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis: int | list[int] = axis if isinstance(axis, int) else list(axis)
        self.epsilon = epsilon

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        axes = normalized_axes(self.axis, len(input_shape), "RMSNormalization")
        shape = known_extents(input_shape, axes, "RMSNormalization")
        self.scale = self.add_weight(shape=shape, name="scale", initializer="ones")

    def call(self, x: Any) -> Any:
        """Compute the output."""
        axes = normalized_axes(self.axis, len(x.shape), "RMSNormalization")
        return ops.rms_normalization(x, self.scale, axis=axes, epsilon=self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}
