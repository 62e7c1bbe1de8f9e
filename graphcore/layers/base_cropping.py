"""What cropping layers share."""

from __future__ import annotations

from typing import Any

from graphcore.layers.arguments import Pairs


def crop(inputs: Any, borders: Pairs, layer: str) -> Any:
    """The inputs without `before` and `after` elements on each axis.

    Raises:
        ValueError: nothing would be left.
    """
    for (before, after), extent in zip(borders, inputs.shape, strict=True):
        if extent is not None and before + after >= extent:
            raise ValueError(
                f"{layer}: `cropping` must leave at least one element on each axis. Received: input shape "
                f"{tuple(inputs.shape)}, elements taken off each axis {borders}"
            )
    return inputs[tuple(slice(before, -after if after else None) for before, after in borders)]
