"""Instructions that work on the leading steps only, as many as a number says that the program computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.arena import address_of
from runtime.dimensions import Dim, symbols_of, tabulate
from runtime.native_code import Record
from runtime.program import Program

__all__ = ["LimitedSizes", "limited_sizes"]

Table = NDArray[np.int64]


class LimitedSizes(NamedTuple):
    """For each limited instruction the rows that `PhaseEntry.PATCHES` points to, and what they point to in turn."""

    rows: Mapping[int, Table]
    sizes: Sequence[Table]


def limited_sizes(
    program: Program, values: Mapping[str, int], stream: Table, record_starts: Sequence[int]
) -> LimitedSizes:
    """Where in an encoded `stream` sizes follow a limit, and their values for every number of steps up to all."""
    rows_of: dict[int, Table] = {}
    tables: dict[tuple[Dim, str], Table] = {}
    for index, instruction in enumerate(program.instructions):
        if instruction.limit < 0:
            continue
        first = record_starts[index] + Record.HEAD + len(instruction.operands)
        slots = [(record_starts[index] + Record.WORK, instruction.work), *enumerate(instruction.extents, first)]
        name, steps = instruction.steps, values[instruction.steps]
        rows = []
        for slot, size in slots:
            if name not in symbols_of(size):
                continue
            if (size, name) not in tables:
                tables[size, name] = tabulate(size, values, name, steps + 1)
            place = address_of(stream) + slot * stream.itemsize
            rows.append([place, address_of(tables[size, name]), instruction.limit, steps])
        rows_of[index] = np.array(rows, np.int64).reshape(-1, 4)
    return LimitedSizes(rows_of, list(tables.values()))
