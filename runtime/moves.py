"""How the arrays of a call that runs a program several times are shared out among the runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.arena import address_of
from runtime.binding import Shape
from runtime.program import Program

__all__ = ["Moves"]

Array = NDArray[np.generic]


class Moves:
    """Which addresses move from step to step, and by how much.

    Args:
        steps: how often the program runs, at least once.

    Raises `ValueError` for fewer steps.
    """

    def __init__(self, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"the number of steps must be at least 1, got {steps}")
        self.steps = steps
        self._pairs: list[int] = []
        self._table: NDArray[np.int64] | None = None

    def split(
        self, program: Program, buffers: Sequence[int], arrays: Sequence[Array], marked: Sequence[bool]
    ) -> tuple[Shape, ...]:
        """The shape of what one step gets of each array: of a marked one its part along axis 0, which moves.

        Raises `ValueError` if a marked array has no rows that could be shared out evenly, or if the counts differ.
        """
        if not len(marked) == len(arrays) == len(buffers):
            raise ValueError(
                f"program {program.name!r}: expected {len(buffers)} arrays and as many marks, "
                f"got {len(arrays)} and {len(marked)}"
            )
        shapes: list[Shape] = []
        for buffer, array, is_marked in zip(buffers, arrays, marked, strict=True):
            shapes.append(self._part(program, buffer, array) if is_marked else array.shape)
        return tuple(shapes)

    def _part(self, program: Program, buffer: int, array: Array) -> Shape:
        named = program.buffers[buffer]
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{named.space} {named.name!r}: expected a NumPy array, got {type(array).__name__}")
        rows, rest = divmod(array.shape[0] if array.ndim else 0, self.steps)
        if rest or not array.ndim:
            raise ValueError(
                f"{named.space} {named.name!r} of shape {array.shape} cannot be shared out evenly among "
                f"{self.steps} steps"
            )
        self._pairs += [buffer, array.nbytes // self.steps]
        return (rows, *array.shape[1:])

    @property
    def count(self) -> int:
        """Number of addresses that move."""
        return len(self._pairs) // 2

    @property
    def address(self) -> int:
        """Address of the pairs (buffer, bytes); valid until the next `split`."""
        if self._table is None or len(self._table) != len(self._pairs):
            self._table = np.array(self._pairs, np.int64)
        return address_of(self._table)
