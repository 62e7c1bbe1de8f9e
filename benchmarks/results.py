"""What was measured, as plain data: rows of cells, ratios against the best peer, geometric means, JSON."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.engines import ENGINES

SCHEMA = 1
SUBJECT = "graphcore"
STATISTICS = ("median", "minimum", "processor")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One engine in one row; all figures in the row's unit for one step, or why there are none.

    Attributes:
        median, minimum, count: of the samples.
        processor: processor time of one step, all threads together; NaN where it was not measured.
        foreign_cores: how many cores other processes kept busy meanwhile, a mean; NaN where it was not measured.
        error: why there are no figures; empty if there are.
    """

    median: float = math.nan
    minimum: float = math.nan
    count: int = 0
    processor: float = math.nan
    foreign_cores: float = math.nan
    error: str = ""

    @classmethod
    def of(cls, samples: Sequence[float], processor: Sequence[float] = (), foreign: Sequence[float] = ()) -> Cell:
        """A cell of samples, with processor times and foreign load a turn."""
        return cls(
            statistics.median(samples),
            min(samples),
            len(samples),
            statistics.median(processor) if processor else math.nan,
            statistics.fmean(foreign) if foreign else math.nan,
        )

    def value(self, statistic: str = "median") -> float:
        """One of `STATISTICS`; NaN if there is none."""
        return {"median": self.median, "minimum": self.minimum, "processor": self.processor}[statistic]


@dataclasses.dataclass(frozen=True)
class Row:
    """One measure of one workload over the engines; less is better.

    `unit` is "s", "B" or "token", seconds for one; `statistic`, one of `STATISTICS`, is what engines are compared by.
    """

    measure: str
    workload: str
    batch: int
    unit: str
    cells: dict[str, Cell]
    statistic: str = "median"

    def value(self, engine: str) -> float:
        """The engine's figure, or NaN."""
        return self.cells[engine].value(self.statistic) if engine in self.cells else math.nan

    @property
    def best_peer(self) -> str:
        """The peer with the smallest figure; empty if none has one. A column need not be an engine."""
        known = [name for name in self.cells if name in ENGINES and ENGINES[name].peer]
        peers = [name for name in known if not math.isnan(self.value(name))]
        return min(peers, key=self.value, default="")

    @property
    def ratio(self) -> float:
        """How many times the best peer's figure is graphcore's: above 1, graphcore leads. NaN if one is missing."""
        return self.value(self.best_peer) / self.value(SUBJECT)


@dataclasses.dataclass(frozen=True)
class Mean:
    """Geometric mean of the ratios of a measure's rows."""

    measure: str
    ratio: float
    rows: int


def geometric_means(rows: Iterable[Row]) -> list[Mean]:
    """One for each measure that has a ratio, in the order of the rows."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        if not math.isnan(row.ratio):
            ratios.setdefault(row.measure, []).append(row.ratio)
    return [Mean(measure, statistics.geometric_mean(values), len(values)) for measure, values in ratios.items()]


def to_json(
    rows: Sequence[Row], machine: dict[str, Any], versions: dict[str, dict[str, str]], options: dict[str, Any]
) -> dict[str, Any]:
    """All of it for `json.dumps`: seconds and bytes, null for what there is not."""
    return {
        "schema": SCHEMA,
        "machine": machine,
        "versions": versions,
        "options": options,
        "rows": [
            {
                "measure": row.measure,
                "workload": row.workload,
                "batch": row.batch,
                "unit": row.unit,
                "statistic": row.statistic,
                "cells": {name: _plain(dataclasses.asdict(cell)) for name, cell in row.cells.items()},
                "best_peer": row.best_peer or None,
                "ratio": _finite(row.ratio),
            }
            for row in rows
        ],
        "geometric_means": [dataclasses.asdict(mean) for mean in geometric_means(rows)],
    }


def _plain(cell: dict[str, Any]) -> dict[str, Any]:
    return {key: _finite(value) if isinstance(value, float) else value for key, value in cell.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
