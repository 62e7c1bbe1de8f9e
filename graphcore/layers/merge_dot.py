"""Products of two inputs, sample by sample."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.layer import Layer
from graphcore.layers.merge import check_inputs


class Dot(Layer):
    """Sums the products of two tensors over one axis of each, sample by sample.

    Args:
        axes: the axis of both, or a pair; never the batch axis 0.
        normalize: divide both by their norm over that axis first, which gives the cosine.
        kwargs: see `Layer`.

    Inputs: (batch, ...), (batch, ...). Output: (batch, other axes of the first, other axes of the second), or
    (batch, 1) where there are none.

    Raises:
        TypeError: `axes` is neither an integer nor a pair.
        ValueError: not two inputs, the batch axis, or extents that differ.
    """

    supports_masking = True

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axes, (int, list, tuple)):
            raise TypeError(f"Dot: expected `axes` to be an integer or a pair of them. Received: axes={axes!r}")
        if not isinstance(axes, int) and (len(axes) != 2 or any(not isinstance(axis, int) for axis in axes)):
            raise ValueError(f"Dot: expected `axes` to be an integer or a pair of them. Received: axes={axes!r}")
        self.axes = axes if isinstance(axes, int) else tuple(axes)
        self.normalize = normalize

    def _axes(self, ranks: Sequence[int]) -> list[int]:
        pair = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        if any(not -rank <= axis < rank or axis % rank == 0 for axis, rank in zip(pair, ranks, strict=True)):
            raise ValueError(
                f"Dot: axes must lie inside the inputs and not be the batch axis 0. Received: axes={self.axes} for "
                f"inputs of rank {tuple(ranks)}"
            )
        return [axis % rank for axis, rank in zip(pair, ranks, strict=True)]

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of this shape."""
        shapes = check_inputs(input_shape, "Dot", 2, 2)
        axes = self._axes([len(shape) for shape in shapes])
        extents = [shape[axis] for shape, axis in zip(shapes, axes, strict=True)]
        if None not in extents and extents[0] != extents[1]:
            raise ValueError(
                f"Dot: the extents of the summed axes differ: {extents[0]} (axis {axes[0]} of the first input) and "
                f"{extents[1]} (axis {axes[1]} of the second). Received: input_shape={shapes}"
            )

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        one, other = inputs
        axes = self._axes([len(one.shape), len(other.shape)])
        if self.normalize:
            one, other = ops.normalize(one, axis=axes[0]), ops.normalize(other, axis=axes[1])
        letters = iter(string.ascii_lowercase[2:])
        names = [["a"] + [next(letters) for _ in x.shape[1:]] for x in (one, other)]
        for labels, axis in zip(names, axes, strict=True):
            labels[axis] = "b"
        free = [label for labels in names for label in labels[1:] if label != "b"]
        equation = f"{''.join(names[0])},{''.join(names[1])}->{''.join(['a', *free])}"
        result = ops.einsum(equation, one, other)
        return result if free else ops.expand_dims(result, -1)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """No mask."""
        return

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def dot(inputs: Sequence[Any], axes: int | Sequence[int] = -1, **kwargs: Any) -> Any:
    """`Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes=axes, **kwargs)(inputs)
