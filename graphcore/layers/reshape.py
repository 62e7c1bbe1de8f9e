"""Other extents for the same elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.layer import Layer


class Reshape(Layer):
    """(batch, ...) -> (batch, *target_shape).

    Args:
        target_shape: extents without the batch; one may be -1 and follows from the others.
        kwargs: see `Layer`.

    Raises:
        ValueError: an extent below 1 that is not -1, more than one -1, or another number of elements.
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)
        wrong = [extent for extent in self.target_shape if extent != -1 and extent < 1]
        if wrong or self.target_shape.count(-1) > 1:
            raise ValueError(
                f"Reshape: expected `target_shape` to hold positive integers and at most one -1. Received: "
                f"target_shape={self.target_shape}"
            )

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        batch, *extents = ops.shape(inputs)
        known = math.prod(extent for extent in self.target_shape if extent != -1)
        given = math.prod(extents)
        free = -1 in self.target_shape
        if isinstance(given, int) and (given % known if free else given != known):
            raise ValueError(
                f"Reshape: `target_shape` must have as many elements as the input. Received: input shape "
                f"{tuple(inputs.shape)} with {given} elements a sample, target_shape={self.target_shape}. "
                f"Fix: let one extent be -1, or check the layer before."
            )
        target = [given // known if extent == -1 else extent for extent in self.target_shape]
        return ops.reshape(inputs, (batch, *target))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "target_shape": self.target_shape}
