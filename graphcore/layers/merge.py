"""What layers that combine several inputs share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.layer import Layer

Shape = tuple[int | None, ...]


def combined_mask(masks: Any) -> Any:
    """True where any mask is; None where an input has none."""
    if not isinstance(masks, (list, tuple)) or any(mask is None for mask in masks):
        return None
    result = masks[0]
    for mask in masks[1:]:
        result = ops.logical_or(result, mask)
    return result


def check_inputs(input_shape: Any, layer: str, least: int = 1, most: int | None = None) -> list[Shape]:
    """The shapes of a list of inputs.

    Raises:
        ValueError: no list, or another number of inputs.
    """
    is_list = isinstance(input_shape, (list, tuple)) and all(isinstance(s, (list, tuple)) for s in input_shape)
    count = len(input_shape) if is_list else 0
    if count < least or (most is not None and count > most):
        wanted = f"exactly {most}" if least == most else f"at least {least}"
        raise ValueError(
            f"A `{layer}` layer takes a list of {wanted} inputs. Received: input_shape={input_shape}. "
            f"Fix: pass the tensors as one list, `{layer}()([a, b])`."
        )
    return [tuple(shape) for shape in input_shape]


class Merge(Layer):
    """Combines a list of tensors element by element.

    Extents must be equal or 1 (which is repeated), as in NumPy; a tensor of lower rank gets axes of extent 1 after
    the batch. Takes the arguments of `Layer`.

    Raises:
        ValueError: no list of inputs, or extents that do not fit.
    """

    supports_masking = True
    least_inputs = 1
    most_inputs: int | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def merge(self, inputs: Sequence[Any]) -> Any:
        """The combination of inputs of one rank."""
        raise NotImplementedError(f"{type(self).__name__} must implement `merge(self, inputs)`.")

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of this shape."""
        kind = type(self).__name__
        shapes = check_inputs(input_shape, kind, self.least_inputs, self.most_inputs)
        rank = max(len(shape) for shape in shapes)
        rows = [(*shape[:1], *(1,) * (rank - len(shape)), *shape[1:]) for shape in shapes]
        for axis, extents in enumerate(zip(*rows, strict=True)):
            if len({extent for extent in extents if extent not in (1, None)}) > 1:
                raise ValueError(
                    f"{kind}: inputs have incompatible shapes: on axis {axis} (of {rank}) the extents are "
                    f"{extents}. Received: input_shape={shapes}. Extents must be equal, or 1."
                )

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        check_inputs([tuple(x.shape) for x in inputs], type(self).__name__, self.least_inputs, self.most_inputs)
        rank = max(len(x.shape) for x in inputs)
        aligned = [
            ops.expand_dims(x, tuple(range(1, 1 + rank - len(x.shape)))) if len(x.shape) < rank else x for x in inputs
        ]
        return self.merge(aligned)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """True where the mask of any input is; none if an input has none."""
        return combined_mask(previous_mask)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return super().get_config()


def fold(function: Any, inputs: Sequence[Any]) -> Any:
    """Combine inputs from left to right."""
    result = inputs[0]
    for x in inputs[1:]:
        result = function(result, x)
    return result


def entry_mask(x: Any) -> Any:
    """The mask of a tensor over all its axes: True where an entry is valid; None if it has no mask."""
    mask = x.keras_mask
    if mask is None:
        return None
    rank = len(mask.shape)
    return ops.expand_dims(mask, tuple(range(rank, len(x.shape)))) if rank < len(x.shape) else mask


def fold_valid(function: Any, inputs: Sequence[Any]) -> Any:
    """Combine inputs from left to right, for a function that has no neutral element.

    Where only one side is valid, it alone counts; where neither is, the value is that of the first of the two. The
    combination so far has a mask, True where any of its inputs is valid, as long as all of them have one; without
    one it is valid everywhere.
    """
    result, valid = inputs[0], entry_mask(inputs[0])
    for x in inputs[1:]:
        mask = entry_mask(x)
        if mask is not None:
            x = ops.where(mask, x, result)
        if valid is not None:
            result = ops.where(valid, result, x)
        valid = None if mask is None or valid is None else ops.logical_or(valid, mask)
        result = function(result, x)
    return result
