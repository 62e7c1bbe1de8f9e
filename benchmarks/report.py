"""Rows as tables: Markdown, and the terminal's."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.results import Cell, Row, geometric_means

BUSY_CORES = 0.1  # figures taken while others kept so many cores busy are marked
_MARK = "†"
_STATISTICS = {
    "median": "median (minimum)",
    "minimum": "minimum",
    "processor": "median of processor time (minimum of wall-clock time)",
}
_UNITS = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "B": ((2.0**20, "MiB"),),
}


def figure(value: float, unit: str) -> str:
    """Three digits and a unit that suits; a dash for NaN. Seconds a token are shown as tokens a second."""
    if math.isnan(value):
        return "–"
    if unit == "token":
        rate = float(f"{1 / value:.3g}")
        return f"{rate:,.{max(0, 2 - math.floor(math.log10(rate)))}f}/s"
    factor, name = next((pair for pair in _UNITS[unit] if value >= pair[0]), _UNITS[unit][-1])
    scaled = value / factor
    digits = max(0, 2 - math.floor(math.log10(scaled))) if scaled > 0 else 0
    return f"{scaled:.{digits}f} {name}"


def cell_text(cell: Cell | None, unit: str, statistic: str = "median") -> str:
    """A statistic and the minimum; a mark where others kept the machine busy; "failed" for an error."""
    if cell is None:
        return ""
    if cell.error:
        return "failed"
    if statistic == "minimum":
        return figure(cell.minimum, unit)
    mark = _MARK if cell.foreign_cores > BUSY_CORES else ""
    return f"{figure(cell.value(statistic), unit)} ({figure(cell.minimum, unit)}){mark}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_markdown(rows: Sequence[Row]) -> str:
    """One table for each measure, in the order of the rows, with the errors of all cells after the tables."""
    parts = []
    for measure, group in itertools.groupby(rows, key=lambda row: row.measure):
        members = list(group)
        parts.append(f"**{measure}**, {_STATISTICS[members[0].statistic]}\n\n{_table(members)}")
    if any(cell.foreign_cores > BUSY_CORES for row in rows for cell in row.cells.values()):
        parts.append(f"{_MARK} other processes kept more than {BUSY_CORES} cores busy meanwhile.")
    means = [[m.measure, f"{m.ratio:.2f}", str(m.rows)] for m in geometric_means(rows)]
    if means:
        heading = "**geometric mean of best peer / graphcore**"
        parts.append(f"{heading}\n\n{markdown_table(['measure', 'ratio', 'rows'], means)}")
    errors = [
        f"- {row.measure}, {row.workload}, {name}: {' '.join(cell.error.split())}"
        for row in rows
        for name, cell in row.cells.items()
        if cell.error
    ]
    return "\n\n".join([*parts, *(["\n".join(["Failed:", *errors])] if errors else [])])


def _table(rows: list[Row]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    compared = any(not math.isnan(row.ratio) for row in rows)
    head = ["workload", "batch", *columns]
    if compared:
        head += ["best peer", "best peer / graphcore"]
    lines = []
    for row in rows:
        cells = [cell_text(row.cells.get(name), row.unit, row.statistic) for name in columns]
        line = [row.workload, str(row.batch) if row.batch else "", *cells]
        if compared:
            line += [row.best_peer, "" if math.isnan(row.ratio) else f"{row.ratio:.2f}"]
        lines.append(line)
    return markdown_table(head, lines)


def machine_text(machine: dict[str, Any], versions: dict[str, dict[str, str]]) -> str:
    """The machine and the versions in a few lines of Markdown."""
    caches = ", ".join(f"{name} {size // 1024} KiB" for name, size in machine["caches"].items())
    load = ", ".join(f"{value:.1f}" for value in machine["load_average"])
    used = {name: version for parts in versions.values() for name, version in parts.items()}
    return "\n".join(
        [
            f"- {machine['processor']} ({machine['llvm_name']}), {machine['cores']} cores, "
            f"{machine['vector_bits']}-bit vectors, {machine['vector_registers']} registers; {caches}",
            f"- {machine['system']}, Python {machine['python']}, {machine['date']}; load average before: {load}",
            f"- {', '.join(f'{name} {version}' for name, version in used.items())}",
        ]
    )


def publish(folder: Path, name: str, text: str, document: dict[str, Any]) -> None:
    """Print the text, and write it and the document as NAME.md and NAME.json; says where."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.md", folder / f"{name}.json"
    paths[0].write_text(text + "\n", encoding="utf-8")
    paths[1].write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    console = Console()
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        print(text)
    print(f"\nWritten to {paths[0]} and {paths[1]}", flush=True)
