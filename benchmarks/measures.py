"""The measures, and how each becomes rows: which task, at which batch, for which contestants."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import masked_steps
from benchmarks.attention_memory import measure_attention, share_table
from benchmarks.engines import ENGINES
from benchmarks.generation import GENERATIONS
from benchmarks.masked_steps import line_table, lines_of
from benchmarks.results import STATISTICS, Row
from benchmarks.start_up import measure_start
from benchmarks.turns import Contestant, Team
from benchmarks.workloads import ATTENTIONS, KERNELS, LARGE_FACTOR, MASKED, WORKLOADS, Task

STEP_TITLES = {
    "train": "training step",
    "train-large": "training step, large batch",
    "train-one": "training step, batch 1",
    "inference": "inference",
    "latency": "latency, batch 1",
}
MEASURES = (*STEP_TITLES, "start", "generation", "masked", "attention", "kernels")
KERNEL_TITLE = "kernel, one thread"
GENERATION_TITLE = "generation, a token"
RESULTS = Path(__file__).resolve().parent / "results"


def task_of(measure: str, model: str) -> Task:
    """The task of a measure in `STEP_TITLES` for a model."""
    workload = WORKLOADS[model]
    batches = {
        "train": workload.batch,
        "train-large": LARGE_FACTOR * workload.batch,
        "inference": workload.inference_batch,
    }
    batch = batches.get(measure, 1)
    return Task("train" if measure.startswith("train") else "infer", model, batch)


def add_options(parser: argparse.ArgumentParser, default_measures: Sequence[str]) -> None:
    """What both benchmarks can be told."""
    every = ", ".join(MEASURES)
    parser.add_argument("--models", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="MODEL")
    parser.add_argument(
        "--measures", nargs="+", choices=MEASURES, default=list(default_measures), metavar="MEASURE",
        help=f"of {every} (default: {' '.join(default_measures)})",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=6, help="turns of each engine in a row (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn (default: %(default)s)")
    parser.add_argument(
        "--start-rounds", type=int, default=3, help="processes for a start or memory (%(default)s)"
    )
    parser.add_argument(
        "--by", choices=STATISTICS, default="median", dest="statistic",
        help="what ratios are made of; of a busy machine the processor time of one thread still says something",
    )  # fmt: skip
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the tables (default: %(default)s)")


@contextlib.contextmanager
def progress(text: str) -> Iterator[None]:
    """Say on standard error what is being measured, and how long it took."""
    begin = datetime.datetime.now()
    print(f"{text} ...", end="", file=sys.stderr, flush=True)
    yield
    print(f" {(datetime.datetime.now() - begin).total_seconds():.0f} s", file=sys.stderr, flush=True)


class Session:
    """Measures rows for some contestants. Ctrl-C ends it early.

    Args:
        options: as parsed with `add_options`.
        contestants: columns of the tables of models.
        kernel_contestants: columns of the table of kernels.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        contestants: Mapping[str, Contestant],
        kernel_contestants: Mapping[str, Contestant],
    ) -> None:
        self.options = options
        self.contestants = contestants
        self.kernel_contestants = kernel_contestants
        self.versions: dict[str, dict[str, str]] = {}

    def rows(self) -> list[Row]:
        """All rows that the options ask for, by measure; after an interrupt those that there are."""
        measures: list[str] = self.options.measures
        found: list[Row] = []
        with tempfile.TemporaryDirectory(prefix="graphcore-bench-") as name:
            folder = Path(name)
            try:
                self._steps([measure for measure in STEP_TITLES if measure in measures], folder, found)
                if "start" in measures:
                    self._starts(folder, found)
                if "generation" in measures:
                    tasks = [Task("generate", name, 1) for name in GENERATIONS]
                    self._tasks(GENERATION_TITLE, tasks, folder, found)
                if "masked" in measures:
                    tasks = [Task("train", name, workload.batch) for name, workload in MASKED.items()]
                    self._tasks(masked_steps.TITLE, tasks, folder, found)
                if "attention" in measures:
                    self._attention(folder, found)
                if "kernels" in measures:
                    self._kernels(folder, found)
            except KeyboardInterrupt:
                print(" interrupted; these rows were finished:", file=sys.stderr)
        order = list(dict.fromkeys(row.measure for row in found))
        return sorted(found, key=lambda row: order.index(row.measure))

    def _steps(self, measures: list[str], folder: Path, found: list[Row]) -> None:
        with Team(self.contestants, folder, self.versions) as team:
            for model in self.options.models:
                for measure in measures:
                    task = task_of(measure, model)
                    found.append(self._row(team, STEP_TITLES[measure], task, self.contestants))

    def _tasks(self, title: str, tasks: list[Task], folder: Path, found: list[Row]) -> None:
        with Team(self.contestants, folder, self.versions) as team:
            for task in tasks:
                found.append(self._row(team, title, task, self.contestants))

    def _attention(self, folder: Path, found: list[Row]) -> None:
        able = {name: c for name, c in self.contestants.items() if "attention" in ENGINES[c.engine].kinds}
        for attention in ATTENTIONS.values():
            with progress(f"attention {attention.name}"):
                found.append(measure_attention(attention, able, folder, self.options.start_rounds, self.versions))

    def _starts(self, folder: Path, found: list[Row]) -> None:
        by_engine = {c.engine: (name, c) for name, c in self.contestants.items() if ENGINES[c.engine].starts}
        trainers = dict(by_engine.values())
        for model in self.options.models:
            with progress(f"start {model}"):
                found += measure_start(model, trainers, folder, self.options.start_rounds)

    def _kernels(self, folder: Path, found: list[Row]) -> None:
        with Team(self.kernel_contestants, folder, self.versions) as team:
            for kernel in KERNELS:
                found.append(self._row(team, KERNEL_TITLE, Task("kernel", kernel), self.kernel_contestants))

    def _row(self, team: Team, title: str, task: Task, contestants: Mapping[str, Contestant]) -> Row:
        names = [name for name, c in contestants.items() if task.kind in ENGINES[c.engine].kinds]
        with progress(str(task)):
            cells = team.measure(task, names, self.options.rounds, self.options.seconds)
        unit = "token" if task.kind == "generate" else "s"
        return Row(title, task.name, task.batch, unit, cells, self.options.statistic)


def further_tables(rows: Sequence[Row]) -> list[str]:
    """What is made of rows beside their tables: the shares of attention's memory, the cost of steps not masked."""
    return [table for table in (share_table(rows), line_table(rows)) if table]


def further_figures(rows: Sequence[Row]) -> dict[str, object]:
    """The same for the JSON document."""
    return {"masked_lines": [dataclasses.asdict(line) for line in lines_of(rows)]}
