"""Inputs one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.layer import Layer
from graphcore.layers.merge import check_inputs


class Concatenate(Layer):
    """Joins a list of tensors along an axis.

    Args:
        axis: the axis, not the batch in most uses.
        kwargs: see `Layer`.

    Raises:
        ValueError: no list of inputs, or inputs that differ in rank or on another axis.
    """

    supports_masking = True

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of this shape."""
        shapes = check_inputs(input_shape, "Concatenate")
        rank = len(shapes[0])
        if any(len(shape) != rank for shape in shapes) or not -rank <= self.axis < rank:
            raise ValueError(
                f"Concatenate: inputs must have one rank, above the axis. Received: axis={self.axis}, "
                f"input_shape={shapes}"
            )
        for axis, extents in enumerate(zip(*shapes, strict=True)):
            if axis != self.axis % rank and len(set(extents) - {None}) > 1:
                raise ValueError(
                    f"Concatenate: inputs must match on all axes but the concatenation axis {self.axis}. On axis "
                    f"{axis} the extents are {extents}. Received: input_shape={shapes}"
                )

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return ops.concatenate(list(inputs), axis=self.axis)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The masks joined likewise; inputs without one count as valid."""
        masks = previous_mask if isinstance(previous_mask, (list, tuple)) else [previous_mask]
        if all(mask is None for mask in masks):
            return None
        full = []
        for tensor, mask in zip(inputs, masks, strict=True):
            if mask is None:
                full.append(ops.ones_like(tensor, dtype="bool"))
            elif len(mask.shape) < len(tensor.shape):
                full.append(ops.logical_or(ops.expand_dims(mask, -1), ops.zeros_like(tensor, dtype="bool")))
            else:
                full.append(mask)
        return ops.any(ops.concatenate(full, axis=self.axis), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "axis": self.axis}


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis=axis, **kwargs)(inputs)
