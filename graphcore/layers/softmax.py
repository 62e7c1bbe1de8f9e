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

    With a mask (which broadcasts to the inputs), masked entries get probability 0. The inputs' own Keras mask says
    which steps are valid, not which entries of a step: it hides nothing where it has fewer axes.

    Raises:
        ValueError: a mask that does not broadcast to the inputs.
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis if isinstance(axis, int) else list(axis)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Compute the output."""
        if mask is not None and mask is inputs.keras_mask and len(mask.shape) < len(inputs.shape):
            mask = None
        if mask is not None:
            _check_mask(mask, inputs)
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


def _check_mask(mask: Any, inputs: Any) -> None:
    pairs = zip(mask.shape[::-1], inputs.shape[::-1], strict=False)
    fits = all(extent in (1, None, other) or other is None for extent, other in pairs)
    if len(mask.shape) > len(inputs.shape) or not fits:
        raise ValueError(
            f"Softmax: a mask must broadcast to the inputs, of shape {tuple(inputs.shape)}. Received: a mask of shape "
            f"{tuple(mask.shape)}"
        )
