"""Minimum of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.merge import Merge, fold


class Minimum(Merge):
    """The smaller of the inputs, element by element.

    Inputs and errors: see `Merge`.
    """

    def merge(self, inputs: Sequence[Any]) -> Any:
        """The smaller of the inputs, element by element."""
        return fold(ops.minimum, inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)
