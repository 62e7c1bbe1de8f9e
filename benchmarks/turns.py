"""Taking turns: every engine runs for a moment, one after another, again and again.

A load on the machine that comes and goes then meets all of them alike. A worker whose turn it is not is stopped
altogether, so that no idle thread of it can spin.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from benchmarks.machine import Bystanders
from benchmarks.processes import WorkerEndedError, WorkerError, WorkerProcess
from benchmarks.results import Cell
from benchmarks.workloads import Task


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A column of a table: an engine on a number of threads, and the interpreter that has it."""

    engine: str
    threads: int
    python: str = sys.executable


class Team:
    """The workers of some contestants by column name. They are started when first needed, and end with the block.

    Attributes:
        versions: of what each column's engine is made; `versions` given are added to.
    """

    def __init__(
        self, contestants: Mapping[str, Contestant], folder: Path, versions: dict[str, dict[str, str]] | None = None
    ) -> None:
        self.versions = {} if versions is None else versions
        self._contestants = contestants
        self._folder = folder
        self._workers: dict[str, WorkerProcess] = {}

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.close()

    def worker(self, name: str) -> WorkerProcess:
        """The worker of a column, stopped."""
        if name not in self._workers:
            who = self._contestants[name]
            paths = self._folder / f"cache-{who.engine}", self._folder / f"{name}.log"
            worker = self._workers[name] = WorkerProcess(who.engine, who.threads, *paths, who.python)
            self.versions[name] = worker.ask("describe")["versions"]
            worker.pause()
        return self._workers[name]

    def drop(self, name: str) -> None:
        """End a worker that cannot be asked any more; the next use starts another."""
        worker = self._workers.pop(name, None)
        if worker is not None:
            worker.close()

    def measure(self, task: Task, names: list[str], rounds: int, seconds: float) -> dict[str, Cell]:
        """Time one step of a task: so many rounds, in each of which every contestant runs for so many seconds.

        One after another is prepared first; one that fails has a cell with its error.
        """
        turns = {name: _Turns() for name in names}

        def prepare(worker: WorkerProcess) -> None:
            worker.ask("prepare", task)

        for name in names:
            self._attempt(name, turns[name], prepare)
        for round_ in range(rounds):
            for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
                turn = turns[name]
                if not turn.error:
                    self._attempt(name, turn, functools.partial(turn.take, seconds))
        return {name: turn.cell() for name, turn in turns.items()}

    def _attempt(self, name: str, turns: _Turns, action: Callable[[WorkerProcess], None]) -> None:
        try:
            worker = self.worker(name)
            with worker.awake():
                action(worker)
        except WorkerError as error:
            turns.error = str(error)
            if isinstance(error, WorkerEndedError):
                self.drop(name)


class _Turns:
    """What one contestant's turns gave."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self.processor: list[float] = []
        self.foreign: list[float] = []
        self.error = ""

    def take(self, seconds: float, worker: WorkerProcess) -> None:
        """One turn of so many seconds."""
        bystanders = Bystanders()
        reply = worker.ask("run", seconds=seconds)
        self.samples += reply["samples"]
        self.processor.append(reply["processor_seconds"])
        self.foreign.append(bystanders.cores(reply["processor_total"]))

    def cell(self) -> Cell:
        """The row's cell."""
        if self.error or not self.samples:
            return Cell(error=self.error or "no turn")
        return Cell.of(self.samples, self.processor, self.foreign)
