"""How long a user waits: processes from their start to the end of the first training step, and their memory.

    python -m benchmarks.start_up [--models mlp cnn] [--rounds 3]

Every figure comes from processes of their own, the start of the interpreter and all imports included. *Cold* begins
with an empty folder for compiled code, *warm* with the one that the cold process filled (for engines that keep one).
The memory is the most that the process had resident, after some further training steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.machine import usable_cores
from benchmarks.processes import WorkerError, WorkerProcess
from benchmarks.report import to_markdown
from benchmarks.results import Cell, Row
from benchmarks.turns import Contestant
from benchmarks.workloads import WORKLOADS, Task

MEASURES = ("first step, cold", "first step, warm", "peak memory, cold", "peak memory, warm")
TRAINING_SECONDS = 0.5


def measure_start(model: str, contestants: Mapping[str, Contestant], folder: Path, rounds: int) -> list[Row]:
    """Rows of `MEASURES` for a model at its stated batch; the contestants take turns."""
    task = Task("train", model, WORKLOADS[model].batch)
    samples: dict[str, dict[str, list[float]]] = {measure: {name: [] for name in contestants} for measure in MEASURES}
    errors: dict[str, str] = {}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            if name in errors:
                continue
            try:
                figures = _cold_and_warm(contestant, task, folder / f"{name}.log")
            except WorkerError as error:
                errors[name] = str(error)
                continue
            for measure, figure in zip(MEASURES, figures, strict=True):
                samples[measure][name].append(figure)

    def cell(measure: str, name: str) -> Cell:
        return Cell(error=errors[name]) if name in errors else Cell.of(samples[measure][name])

    return [
        Row(
            measure,
            model,
            task.batch,
            "B" if "memory" in measure else "s",
            {name: cell(measure, name) for name in contestants},
        )
        for measure in MEASURES
    ]


def _cold_and_warm(contestant: Contestant, task: Task, log: Path) -> tuple[float, float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        (cold, cold_memory), (warm, warm_memory) = (_one_process(contestant, task, cache, log) for _ in range(2))
    return cold, warm, cold_memory, warm_memory


def _one_process(contestant: Contestant, task: Task, cache: Path, log: Path) -> tuple[float, float]:
    """Seconds to the end of the first step, and peak bytes after some more."""
    with WorkerProcess(contestant.engine, contestant.threads, cache, log, contestant.python) as worker:
        worker.ask("first_step", task)
        seconds = time.perf_counter() - worker.started
        worker.ask("run", seconds=TRAINING_SECONDS)
        return seconds, float(worker.ask("memory")["peak_bytes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3, help="processes for each figure (default: %(default)s)")
    options = parser.parse_args()
    contestants = {"graphcore": Contestant("graphcore", usable_cores())}
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for model in options.models
                for row in measure_start(model, contestants, Path(folder), options.rounds)]  # fmt: skip
    print(to_markdown(rows))


if __name__ == "__main__":
    main()
