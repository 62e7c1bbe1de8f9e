"""How much memory attention and its gradients take at a length where the matrix of scores would be large.

    python -m benchmarks.peers --measures attention ...

Each figure comes from a process of its own, which has run a few steps first: what is resident at most during one
forward and backward pass, results and gradients included, beyond what was resident before it. The last column is the
size of the matrix of scores, which is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.processes import WorkerError, WorkerProcess
from benchmarks.report import markdown_table
from benchmarks.results import Cell, Row
from benchmarks.turns import Contestant
from benchmarks.workloads import ATTENTIONS, AttentionWorkload, Task

TITLE = "attention with its gradients, additional memory"
SCORES = "scores"


def measure_attention(
    attention: AttentionWorkload,
    contestants: Mapping[str, Contestant],
    folder: Path,
    rounds: int,
    versions: dict[str, dict[str, str]],
) -> Row:
    """The row of an attention; what each column's engine is made of is added to `versions`."""
    cells = {}
    for name, contestant in contestants.items():
        try:
            samples = [_grown(attention, contestant, folder, versions, name) for _ in range(rounds)]
        except WorkerError as error:
            cells[name] = Cell(error=str(error))
        else:
            cells[name] = Cell.of(samples)
    return Row(TITLE, attention.name, 1, "B", {**cells, SCORES: Cell.of([float(attention.score_bytes)])})


def _grown(
    attention: AttentionWorkload,
    contestant: Contestant,
    folder: Path,
    versions: dict[str, dict[str, str]],
    name: str,
) -> float:
    """Bytes, in a process of its own."""
    paths = folder / f"cache-{contestant.engine}", folder / f"{contestant.engine}-attention.log"
    with WorkerProcess(contestant.engine, contestant.threads, *paths, contestant.python) as worker:
        versions[name] = worker.ask("describe")["versions"]
        return float(worker.ask("growth", Task("attention", attention.name, 1))["grown_bytes"])


def share_table(rows: Sequence[Row]) -> str:
    """Every figure as a share of the matrix of scores; empty if there are none."""
    of_attention = [row for row in rows if row.measure == TITLE]
    if not of_attention:
        return ""
    columns = [name for name in of_attention[0].cells if name != SCORES]
    lines = [[row.workload, *(_share(row.value(name), ATTENTIONS[row.workload]) for name in columns)]
             for row in of_attention]  # fmt: skip
    return f"**additional memory as a share of the scores**\n\n{markdown_table(['workload', *columns], lines)}"


def _share(size: float, attention: AttentionWorkload) -> str:
    return "–" if math.isnan(size) else f"1/{attention.score_bytes / size:.1f}"
