"""Maximum of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.merge import Merge, fold_valid


class Maximum(Merge):
    """The larger of the inputs, element by element; entries that a mask excludes do not count.

    Where no input is valid, the output is that of the first. Inputs and errors: see `Merge`.
    """

    def merge(self, inputs: Sequence[Any]) -> Any:
        """The larger of the inputs, element by element."""
        return fold_valid(ops.maximum, inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """`Maximum(**kwargs)(inputs)`."""
    return Maximum(**kwargs)(inputs)
