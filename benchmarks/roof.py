"""The machine's roof, measured anew: float32 peak of the micro-kernel, and memory bandwidth, on one thread and on all.

    python -m benchmarks.roof
"""

from __future__ import annotations

from benchmarks.machine import usable_cores
from compiler.roof import Roof, measure_roof

__all__ = ["Roof", "measure_roofs", "table"]


def table(roofs: list[Roof]) -> str:
    """In Markdown."""
    lines = ["| threads | float32 peak, GFLOP/s | copy, GB/s | triad, GB/s |", "|---|---|---|---|"]
    for roof in roofs:
        figures = (roof.flops, roof.copy, roof.triad)
        lines.append(f"| {roof.threads} | {' | '.join(f'{figure / 1e9:.1f}' for figure in figures)} |")
    return "\n".join(lines)


def measure_roofs() -> list[Roof]:
    """On one thread, and on all cores if there are more."""
    return [measure_roof(threads) for threads in sorted({1, usable_cores()})]


if __name__ == "__main__":
    print(table(measure_roofs()))
