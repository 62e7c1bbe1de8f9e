"""Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import activations, ops
from graphcore.layers.layer import Layer


class Softmax(Layer):
    """`exp(inputs)` divided by its sum over `axis`.

    Args:
        axis: axis of the sum, or several.
        kwargs: see `Layer`.

    With a mask (which broadcasts to the inputs), masked entries get probability 0.
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis if isinstance(axis, int) else list(axis)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Compute the output."""
        if mask is not None and len(mask.shape) < len(inputs.shape):
            mask = None  # it says which steps are valid, not which entries of a step
        if mask is not None:
            mask = mask if mask.dtype == "bool" else ops.greater(mask, 0.5)
            lowest = -3e4 if inputs.dtype == "float16" else -1e9
            inputs = ops.where(mask, inputs, lowest)
        if isinstance(self.axis, int):
            outputs = activations.softmax(inputs, axis=self.axis)
        else:
            outputs = ops.exp(inputs - ops.logsumexp(inputs, axis=self.axis, keepdims=True))
        return outputs if mask is None else ops.where(mask, outputs, 0.0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "axis": self.axis}
