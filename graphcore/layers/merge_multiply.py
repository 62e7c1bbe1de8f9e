"""Product of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.merge import Merge, fold


class Multiply(Merge):
    """The product of the inputs, element by element.

    Inputs and errors: see `Merge`.
    """

    def merge(self, inputs: Sequence[Any]) -> Any:
        """The product of the inputs, element by element."""
        return fold(ops.multiply, inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)
