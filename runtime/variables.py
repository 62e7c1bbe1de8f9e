"""The variables that a program was last given: checked once, and known again at the next call."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_

import numpy as np
from numpy.typing import NDArray

from runtime.arena import address_of
from runtime.arguments import check_in_place, check_shape, count_message
from runtime.binding import Shape
from runtime.contents import Followers, Watch
from runtime.dimensions import SymbolicInt
from runtime.program import Program

__all__ = ["BoundVariables"]

Array = NDArray[np.generic]


class BoundVariables:
    """Arrays for a program's variables.

    Attributes:
        arrays: in the program's order; None before the first.
        shapes: theirs.
        addresses: buffer index by address.
        version: grows with every other set of arrays.
        are_symbolic: whether a size of a variable gives a symbol its value.
        followers: to be told of updates; None for a program that updates nothing.
        watch: of those that prepared instructions read; None for a program that has none.
    """

    def __init__(self, program: Program) -> None:
        self.arrays: tuple[Array, ...] | None = None
        self.shapes: tuple[Shape, ...] = ()
        self.addresses: dict[int, int] = {}
        self.version = 0
        self.are_symbolic = any(
            isinstance(dim, SymbolicInt) for index in program.variables for dim in program.buffers[index].shape
        )
        self.watch = Watch() if program.prepared else None
        self._program = program
        read = {operand for call in program.instructions[: program.prepared] for operand in call.operands}
        self._prepared = [place for place, index in enumerate(program.variables) if index in read]
        updated = program.updated
        self._updated = [place for place, index in enumerate(program.variables) if index in updated]
        self.followers: Followers | None = None

    def take(self, variables: Sequence[Array]) -> bool:
        """Check a set of arrays and keep it; False if it is the set that is kept already.

        What was prepared stays so where the arrays that it was prepared from are the same: a generator of text gives
        its program larger caches from time to time, and the same weights.

        Raises `TypeError` for a wrong dtype and `ValueError` for a wrong count, shape or layout, or for two that
        are the same memory.
        """
        arrays = tuple(variables)
        known = self.arrays
        if known is not None and len(known) == len(arrays) and all(map(is_, known, arrays)):
            self.arrays = arrays
            return False
        indices = self._program.variables
        if len(arrays) != len(indices):
            raise ValueError(count_message(self._program, "variable", indices, len(arrays)))
        for index, array in zip(indices, arrays, strict=True):
            check_in_place(self._program, index, array)
            if not self.are_symbolic:
                check_shape(self._program.buffers[index], array.shape, {})
        self.addresses = self._distinct_addresses(arrays)
        is_prepared = known is not None and all(known[place] is arrays[place] for place in self._prepared)
        self.arrays = arrays
        self.shapes = tuple(array.shape for array in arrays)
        self.version += 1
        self.followers = Followers(arrays[place] for place in self._updated) if self._updated else None
        if self.watch is not None and not is_prepared:
            self.watch.follow(arrays[place] for place in self._prepared)
        return True

    def forget(self) -> None:
        """Keep no arrays."""
        self.arrays = None
        if self.watch is not None:
            self.watch.stop()

    def tell(self) -> None:
        """Report that the program has written to those it updates."""
        if self.followers is not None:
            self.followers.tell()

    def _distinct_addresses(self, arrays: tuple[Array, ...]) -> dict[int, int]:
        owners: dict[int, int] = {}
        for index, array in zip(self._program.variables, arrays, strict=True):
            other = owners.setdefault(address_of(array), index)
            if other != index:
                first, second = (self._program.buffers[place].name for place in (other, index))
                raise ValueError(f"variables {first!r} and {second!r} are the same memory; give each its own array")
        return owners
