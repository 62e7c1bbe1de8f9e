"""Several recurrent cells as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphcore import ops, tree
from graphcore.layers.layer import Layer
from graphcore.layers.nesting import deserialize_nested, serialize_nested


class StackedRNNCells(Layer):
    """A cell made of cells: each takes the output of the one before, and has states of its own.

    Args:
        cells: recurrent cells, the first reads the inputs.
        kwargs: see `Layer`.

    Call: (inputs, states: one entry a cell) -> (output of the last cell, new states in the same structure).

    Raises:
        ValueError: an object without `call` or `state_size`.
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            require_cell(cell, "StackedRNNCells")
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """Of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        """Of the last cell."""
        return output_size_of(self.cells[-1])

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """One entry a cell."""
        return [initial_state_of(cell, batch_size, self.compute_dtype) for cell in self.cells]

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights of the cells for steps of this shape."""
        shape = tuple(input_shape)
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(shape)
            size = output_size_of(cell)
            shape = (shape[0], *(size if isinstance(size, (list, tuple)) else (size,)))

    def call(self, inputs: Any, states: Any, training: bool = False, **kwargs: Any) -> Any:
        """One step."""
        new_states = []
        output = inputs
        for cell, own in zip(self.cells, states, strict=True):
            given = list(own) if tree.is_nested(own) else [own]
            function = cell if callable(cell) else cell.call
            output, new = function(output, given, **kwargs)
            if not tree.is_nested(own) and tree.is_nested(new):
                (new,) = new
            new_states.append(new)
        return output, new_states

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "cells": [serialize_nested(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The cell that `get_config` described."""
        rest = dict(config)
        return cls([deserialize_nested(cell, custom_objects) for cell in rest.pop("cells")], **rest)


def require_cell(cell: Any, owner: str) -> None:
    """Raise ValueError if this is no recurrent cell."""
    for name in ("call", "state_size"):
        if not hasattr(cell, name):
            raise ValueError(
                f"{owner}: a recurrent cell has a method `call(inputs, states)` and an attribute `state_size` (an "
                f"integer, or one for each state). Received: {cell!r}, which has no `{name}`."
            )


def output_size_of(cell: Any) -> Any:
    """The features of a cell's output: what it says, or the size of its first state."""
    size = getattr(cell, "output_size", None)
    if size is not None:
        return size
    return cell.state_size[0] if isinstance(cell.state_size, (list, tuple)) else cell.state_size


def initial_state_of(cell: Any, batch_size: Any, dtype: str) -> Any:
    """What a cell says that it begins with, or zeros."""
    own = getattr(cell, "get_initial_state", None)
    if own is not None:
        return own(batch_size=batch_size)
    size = cell.state_size
    if isinstance(size, int):
        return ops.zeros((batch_size, size), dtype=dtype)
    return [ops.zeros((batch_size, entry), dtype=dtype) for entry in size]
