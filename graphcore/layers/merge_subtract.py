"""Difference of two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.merge import Merge


class Subtract(Merge):
    """The first input minus the second.

    Inputs (exactly two) and errors: see `Merge`.
    """

    least_inputs = 2
    most_inputs = 2

    def merge(self, inputs: Sequence[Any]) -> Any:
        """The first minus the second."""
        return ops.subtract(inputs[0], inputs[1])


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Subtract(**kwargs)(inputs)`."""
    return Subtract(**kwargs)(inputs)
