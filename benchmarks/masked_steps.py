"""What a training step costs by the number of steps that are not masked: a straight line, and how far off it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.report import figure, markdown_table
from benchmarks.results import Row
from benchmarks.workloads import MASKED, PADDED_STEPS

TITLE = "training step of an LSTM over padded sequences"


@dataclasses.dataclass(frozen=True)
class Line:
    """The straight line of least squares through a column's times.

    Attributes:
        column: whose times.
        start: seconds where every step is masked.
        slope: seconds for each step that is not.
        deviation: the largest distance of a time from the line, as a share of the line's value where none is masked.
    """

    column: str
    start: float
    slope: float
    deviation: float


def lines_of(rows: Sequence[Row]) -> list[Line]:
    """One for each column with at least three times."""
    members = [row for row in rows if row.measure == TITLE]
    found = []
    for column in dict.fromkeys(name for row in members for name in row.cells):
        points = [(MASKED[row.workload].unmasked, row.value(column)) for row in members]
        points = [point for point in points if not math.isnan(point[1])]
        if len(points) < 3:
            continue
        steps, seconds = np.array(points).T
        slope, start = np.polyfit(steps, seconds, 1)
        distance = np.abs(seconds - (start + slope * steps)).max()
        found.append(Line(column, float(start), float(slope), float(distance / (start + slope * PADDED_STEPS))))
    return found


def line_table(rows: Sequence[Row]) -> str:
    """The lines in Markdown; empty if there are none."""
    lines = lines_of(rows)
    if not lines:
        return ""
    head = ["", "all masked", "each step that is not", "largest deviation, of the time with none masked"]
    texts = [
        [line.column, figure(max(0.0, line.start), "s"), figure(max(0.0, line.slope), "s"), f"{line.deviation:.1%}"]
        for line in lines
    ]
    return f"**{TITLE}: straight line through the times**\n\n{markdown_table(head, texts)}"
