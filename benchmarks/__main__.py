"""graphcore alone, against the machine's roof.

    python -m benchmarks [--models cnn] [--measures train inference] [--rounds 6] [--seconds 0.5]

Measures the machine first (float32 peak of the micro-kernel, memory bandwidth; one thread and all), then, in worker
processes that take turns: training steps (train_on_batch) and inference (predict_on_batch) of the models on one
thread and on all, with their share of the peak in FLOPs counted by definition; the first training step of a new
process with an empty cache and a filled one; peak memory; tokens a second of two small GPTs at batch 1; a training
step of an LSTM by the number of steps that are not masked; the memory of attention with its gradients over 8192 steps
beside the size of its scores; and single kernels on one thread. Prints tables and writes them as Markdown and JSON.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe, usable_cores
from benchmarks.measures import (
    KERNEL_TITLE,
    MEASURES,
    STEP_TITLES,
    Session,
    add_options,
    further_figures,
    further_tables,
    progress,
    task_of,
)
from benchmarks.processes import WorkerProcess
from benchmarks.report import figure, machine_text, markdown_table, publish, to_markdown
from benchmarks.results import Row, to_json
from benchmarks.roof import Roof, measure_roofs
from benchmarks.roof import table as roof_table
from benchmarks.turns import Contestant
from benchmarks.workloads import Task

ONE, ALL = "one thread", "all threads"
Key = tuple[str, str, int]  # measure, workload, batch: what names a row


def count_flops(rows: Sequence[Row]) -> dict[Key, int]:
    """Operations of one step of each row that is timed, by (measure, workload, batch)."""
    tasks = {
        (row.measure, row.workload, row.batch): Task("kernel", row.workload)
        if row.measure == KERNEL_TITLE
        else task_of(next(m for m, title in STEP_TITLES.items() if title == row.measure), row.workload)
        for row in rows
        if row.measure in (*STEP_TITLES.values(), KERNEL_TITLE)
    }
    return _counted(tasks) if tasks else {}


def _counted(tasks: dict[Key, Task]) -> dict[Key, int]:
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "cache", Path(folder) / "log"
        with WorkerProcess("graphcore", usable_cores(), *paths) as worker:
            return {key: int(worker.ask("flops", task)["flops"]) for key, task in tasks.items()}


def step_table(rows: Sequence[Row], flops: dict[Key, int], roofs: Sequence[Roof]) -> str:
    """Times on one thread and on all, the gain of the second, and the shares of the peak."""
    head = ["measure", "workload", "batch", "GFLOP", ONE, f"{roofs[-1].threads} threads", "gain", "GFLOP/s"]
    head += ["of peak", "of peak, one thread"]
    lines = []
    for row in rows:
        operations = flops[row.measure, row.workload, row.batch]
        one, all_ = (row.value(name) if name in row.cells else math.nan for name in (ONE, ALL))
        rate = operations / all_
        lines.append(
            [
                row.measure, row.workload, str(row.batch), f"{operations / 1e9:.3g}",
                figure(one, "s"), figure(all_, "s"),
                _number(one / all_, ".2f"), _number(rate / 1e9, ".1f"), _number(rate / roofs[-1].flops, ".1%"),
                _number(operations / one / roofs[0].flops, ".1%"),
            ]
        )  # fmt: skip
    return markdown_table(head, lines)


def _number(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, MEASURES)
    options = parser.parse_args()
    machine = describe()
    with progress("roof"):
        roofs = measure_roofs()
    contestants = {ONE: Contestant("graphcore", 1), ALL: Contestant("graphcore", usable_cores())}
    session = Session(options, contestants, {ONE: contestants[ONE]})
    rows = session.rows()
    flops = count_flops(rows)
    timed = [row for row in rows if (row.measure, row.workload, row.batch) in flops]
    parts = [
        machine_text(machine, session.versions),
        f"**the machine's roof**\n\n{roof_table(roofs)}",
        f"**shares of the peak**\n\n{step_table(timed, flops, roofs)}",
        to_markdown(rows),
        *further_tables(rows),
    ]
    document = to_json(rows, machine, session.versions, {"command": sys.argv[1:]})
    document |= further_figures(rows)
    document["roof"] = [roof._asdict() for roof in roofs]
    document["flops"] = [
        {"measure": measure, "workload": workload, "batch": batch, "flops": count}
        for (measure, workload, batch), count in flops.items()
    ]
    publish(options.results, "graphcore", "\n\n".join(parts), document)


if __name__ == "__main__":
    main()
