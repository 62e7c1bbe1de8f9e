"""The order in which a binding's instructions run, as a table for the native loop: stretches of instructions, and one
after the other the steps of loops.

Every step of a loop has rows of its own, since what moves from step to step, and which steps run at all, then costs
nothing to decide: the table is made once for each binding, a dozen numbers a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.arena import address_of
from runtime.dimensions import Dim
from runtime.loops import Loop, Window
from runtime.native_code import PhaseEntry
from runtime.program import Program, ProgramError

__all__ = ["Span", "StretchTable", "stretch_table"]

Span = tuple[int, int]
Table = NDArray[np.int64]


class StretchTable(NamedTuple):
    """`length` rows of `PhaseEntry`, and one that only ends the table; `epochs` are what one run of it takes."""

    rows: Table
    length: int
    epochs: int
    moves: tuple[Table, ...]  # what the rows point to

    def address(self, row: int) -> int:
        """Where a row lies in memory."""
        return address_of(self.rows) + row * PhaseEntry.SIZE * self.rows.itemsize


def stretch_table(
    program: Program,
    spans: Sequence[Span],
    records: Sequence[int],
    grains: Sequence[int],
    patches: Mapping[int, Table],
    number: Callable[[Dim], int],
    sizes: Sequence[int],
) -> StretchTable:
    """The table of a program.

    Args:
        program: what is run.
        spans: stretches in program order; none reaches over the ends of a loop.
        records: the address of each instruction's record.
        grains: of each instruction.
        patches: for instructions with a limit the rows that `PhaseEntry.PATCHES` points to.
        number: the value of a size.
        sizes: bytes of each buffer.

    Raises:
        ProgramError: for a window that leaves its buffer at one of the steps.
    """
    pieces: list[Table] = []
    kept: list[Table] = []
    later = 0
    for loop, group in _grouped(spans, program.loops):
        rows = np.zeros((1, len(group), PhaseEntry.SIZE), np.int64)
        for row, (first, end) in zip(rows[0], group, strict=True):
            total = sum(grains[first:end])
            row[PhaseEntry.RECORD], row[PhaseEntry.FIRST], row[PhaseEntry.END] = records[first], first, end
            row[PhaseEntry.GRAINS], row[PhaseEntry.WAKE] = total, total > 1
            limited = [patches[index] for index in range(first, end) if index in patches]
            if limited:
                kept.append(np.concatenate(limited))
                row[PhaseEntry.PATCHES], row[PhaseEntry.PATCH_COUNT] = address_of(kept[-1]), len(kept[-1])
        rows[:, :, PhaseEntry.EPOCH] = later
        if loop is not None:
            rows, moves = _repeated(program, rows, loop, number(loop.count), sizes)
            kept.append(moves)
            later += max(len(rows) - 1, 0) * (loop.end - loop.first)
        pieces.append(rows.reshape(-1, PhaseEntry.SIZE))
    last = np.zeros((1, PhaseEntry.SIZE), np.int64)
    last[0, PhaseEntry.WAKE] = 1
    table = np.concatenate([*pieces, last])
    return StretchTable(table, len(table) - 1, len(records) + later, tuple(kept))


def _grouped(spans: Sequence[Span], loops: Sequence[Loop]) -> list[tuple[Loop | None, list[Span]]]:
    """The stretches outside of loops, and those of each loop together."""
    groups: list[tuple[Loop | None, list[Span]]] = []
    for first, end in spans:
        owner = next((loop for loop in loops if loop.first <= first and end <= loop.end), None)
        if groups and groups[-1][0] is owner:
            groups[-1][1].append((first, end))
        else:
            groups.append((owner, [(first, end)]))
    return groups


def _repeated(program: Program, rows: Table, loop: Loop, count: int, sizes: Sequence[int]) -> tuple[Table, Table]:
    """The rows of one step for all steps in their order, and what moves at each."""
    steps = np.arange(count - 1, -1, -1) if loop.reverse else np.arange(count)
    moves = np.zeros((count, max(len(loop.windows), 1), 3), np.int64)
    for column, window in enumerate(loop.windows):
        moves[:, column, 0] = window.buffer
        moves[:, column, 1] = window.source
        moves[:, column, 2] = _starts(program, window, steps, sizes)
    table = np.repeat(rows, count, 0)
    table[:, :, PhaseEntry.STEP] = steps[:, None]
    table[:, :, PhaseEntry.EPOCH] += (np.arange(count) * (loop.end - loop.first))[:, None]
    table[:, :, PhaseEntry.LIMIT] = loop.limit + 1
    table[:, :, PhaseEntry.BEYOND] = loop.beyond
    table[:, 0, PhaseEntry.MOVES] = address_of(moves) + np.arange(count) * moves[:1].nbytes
    table[:, 0, PhaseEntry.MOVE_COUNT] = len(loop.windows)
    return table, moves


def _starts(program: Program, window: Window, steps: Table, sizes: Sequence[int]) -> Table:
    """Where in its source a window begins at each step, in bytes."""
    starts = window.entry(steps) * sizes[window.buffer]
    if len(steps) and (starts.min() < 0 or starts.max() + sizes[window.buffer] > sizes[window.source]):
        name, source = (program.buffers[index].name for index in (window.buffer, window.source))
        raise ProgramError(
            f"window {name!r} of {source!r} takes the bytes {starts.min()} to {starts.max() + sizes[window.buffer]} in "
            f"{len(steps)} steps, but there are {sizes[window.source]}"
        )
    return starts
