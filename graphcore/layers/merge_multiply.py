"""Product of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.merge import Merge, combined_mask, entry_mask, fold


class Multiply(Merge):
    """The product of the inputs, element by element; entries that a mask excludes count as 1.

    Where all inputs have masks and none is valid, the output is 0. Inputs and errors: see `Merge`.
    """

    def merge(self, inputs: Sequence[Any]) -> Any:
        """The product of the inputs, element by element."""
        masks = [entry_mask(x) for x in inputs]
        factors = [x if mask is None else ops.where(mask, x, 1) for x, mask in zip(inputs, masks, strict=True)]
        product = fold(ops.multiply, factors)
        valid = combined_mask(masks)
        return product if valid is None else ops.where(valid, product, 0)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)
