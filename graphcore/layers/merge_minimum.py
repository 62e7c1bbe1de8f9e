"""Minimum of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.merge import Merge, fold_valid


class Minimum(Merge):
    """The smaller of the inputs, element by element; entries that a mask excludes do not count.

    Where no input is valid, the output is that of the first. Inputs and errors: see `Merge`.
    """

    def merge(self, inputs: Sequence[Any]) -> Any:
        """The smaller of the inputs, element by element."""
        return fold_valid(ops.minimum, inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)
