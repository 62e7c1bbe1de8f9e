"""Instructions that work on the leading steps only, as many as a number says that the program computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.arena import address_of
from runtime.dimensions import evaluate, substitute, symbols_of
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
    kept: list[Table] = []
    for index, instruction in enumerate(program.instructions):
        if instruction.limit < 0:
            continue
        first = record_starts[index] + Record.HEAD + len(instruction.operands)
        slots = [(record_starts[index] + Record.WORK, instruction.work), *enumerate(instruction.extents, first)]
        steps = values[instruction.steps]
        others = {name: value for name, value in values.items() if name != instruction.steps}
        rows = []
        for slot, size in slots:
            if instruction.steps not in symbols_of(size):
                continue
            rest = substitute(size, others)
            kept.append(np.array([evaluate(rest, {instruction.steps: step}) for step in range(steps + 1)], np.int64))
            place = address_of(stream) + slot * stream.itemsize
            rows.append([place, address_of(kept[-1]), instruction.limit, steps])
        rows_of[index] = np.array(rows, np.int64).reshape(-1, 4)
    return LimitedSizes(rows_of, kept)
