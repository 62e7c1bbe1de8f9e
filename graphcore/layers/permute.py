"""Axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer


class Permute(Layer):
    """Reorders the axes; the batch stays first.

    Args:
        dims: for each axis of the output after the batch, the axis of the input, counted from 1.
        kwargs: see `Layer`.

    Raises:
        ValueError: `dims` is no permutation of 1, 2, ...
    """

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                f"Permute: expected `dims` to be a permutation of 1..{len(self.dims)} (axis 0 is the batch). "
                f"Received: dims={self.dims}"
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return ops.transpose(inputs, (0, *self.dims))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "dims": self.dims}
