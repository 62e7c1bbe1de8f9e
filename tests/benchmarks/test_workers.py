"""The protocol between coordinator and workers, and the turns; with real processes where they are the point."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engines.engine import Engine, Step
from benchmarks.processes import WorkerEndedError, WorkerError, WorkerProcess
from benchmarks.turns import Contestant, Team
from benchmarks.worker import LEAST_SAMPLES, Worker, peak_resident_bytes, serve
from benchmarks.workloads import Task

TRAIN = {"kind": "train", "name": "mlp", "batch": 2}


class Sleeper(Engine):
    """Each step takes a known time at least, and is counted."""

    modules = ("json",)

    def __init__(self, seconds: float, steps_in_a_call: int = 1) -> None:
        self.seconds, self.calls, self._steps = seconds, 0, steps_in_a_call

    def prepare(self, task: Task) -> Step:
        if task.kind != "train":
            raise ValueError("training only")
        return self._step

    def _step(self) -> None:
        self.calls += 1
        if self.seconds:
            time.sleep(self.seconds)

    @property
    def steps_in_a_call(self) -> int:
        return self._steps


def conversation(engine: Engine, *commands: object) -> list[dict[str, Any]]:
    replies = io.StringIO()
    serve(Worker(lambda: engine), io.StringIO("".join(json.dumps(c) + "\n" for c in commands)), replies)
    return [json.loads(line) for line in replies.getvalue().splitlines()]


def test_samples_are_times_of_one_step() -> None:
    _, reply = conversation(Sleeper(0.002, 4), {"do": "prepare", "task": TRAIN}, {"do": "run", "seconds": 0.0})
    assert reply["ok"]
    assert len(reply["samples"]) == LEAST_SAMPLES
    assert min(reply["samples"]) >= 0.002 / 4
    assert 0 <= reply["processor_seconds"] <= max(reply["samples"])
    assert reply["processor_total"] >= reply["processor_seconds"]


def test_short_steps_are_timed_several_together() -> None:
    engine = Sleeper(0.0)
    _, reply = conversation(engine, {"do": "prepare", "task": TRAIN}, {"do": "run", "seconds": 0.0})
    assert engine.calls > 10 * LEAST_SAMPLES
    assert all(sample > 0 for sample in reply["samples"])


def test_a_first_step_is_one_step() -> None:
    engine = Sleeper(0.0)
    assert conversation(engine, {"do": "first_step", "task": TRAIN}) == [{"ok": True}]
    assert engine.calls == 1


def test_errors_are_answers_and_the_worker_goes_on() -> None:
    replies = conversation(
        Sleeper(0.0),
        {"do": "run", "seconds": 0.0},
        {"do": "prepare", "task": TRAIN | {"kind": "infer"}},
        {"do": "fly"},
        {"do": "flops", "task": TRAIN},
        {"do": "describe"},
    )
    assert [reply["ok"] for reply in replies] == [False, False, False, False, True]
    assert "Send 'prepare' first" in replies[0]["error"]
    assert replies[1]["error"] == "ValueError: training only"
    assert "Known: describe, prepare" in replies[2]["error"]
    assert replies[4]["versions"] == {"json": json.__version__}  # type: ignore[attr-defined]


def test_peak_memory_grows_with_what_is_held() -> None:
    before = peak_resident_bytes()
    held = b"x" * (before + 2**24)
    assert peak_resident_bytes() >= before + 2**24
    assert held


@pytest.fixture
def start(tmp_path: Path) -> Callable[[str], WorkerProcess]:
    def begin(engine: str) -> WorkerProcess:
        return WorkerProcess(engine, 1, tmp_path / "cache", tmp_path / "log")

    return begin


def test_graphcore_answers_from_its_own_process(start: Callable[[str], WorkerProcess]) -> None:
    task = Task("train", "mlp", 2)
    with start("graphcore") as worker:
        assert "graphcore" in worker.ask("describe")["versions"]
        worker.ask("prepare", task)
        assert min(worker.ask("run", seconds=0.01)["samples"]) > 0
        # Three products a layer, but two in the first.
        layers = ((784, 128), (128, 64), (64, 10))
        products = sum(3 * rows * columns for rows, columns in layers) - 784 * 128
        assert worker.ask("flops", task)["flops"] == 2 * 2 * products
        assert worker.ask("memory")["peak_bytes"] > 2**20
        with pytest.raises(WorkerError, match=r"graphcore: KeyError: 'nothing'"):
            worker.ask("prepare", Task("train", "nothing", 2))


def test_a_worker_that_is_no_more_is_reported_with_its_log(start: Callable[[str], WorkerProcess]) -> None:
    with start("graphcore") as worker:
        worker.ask("memory")
        worker._process.kill()
        with pytest.raises(WorkerEndedError, match=r"graphcore: ended with code -9"):
            worker.ask("memory")


def test_a_stopped_worker_gives_no_answer_in_time(start: Callable[[str], WorkerProcess]) -> None:
    worker = start("graphcore")
    worker.ask("memory")
    worker.pause()
    with pytest.raises(WorkerEndedError, match="no answer to 'memory'"):
        worker.ask("memory", patience=0.2)
    assert worker._process.poll() is not None


def test_a_team_takes_turns_and_shows_who_cannot(tmp_path: Path) -> None:
    contestants = {"graphcore": Contestant("graphcore", 1), "torch": Contestant("torch", 1, "/bin/false")}
    with Team(contestants, tmp_path) as team:
        cells = team.measure(Task("train", "mlp", 2), ["graphcore", "torch"], rounds=2, seconds=0.01)
        assert cells["graphcore"].count >= 2 * LEAST_SAMPLES
        assert cells["graphcore"].processor > 0
        assert "torch: ended with code 1" in cells["torch"].error
        process = team.worker("graphcore")._process
        state = Path(f"/proc/{process.pid}/stat")
        if state.exists():  # on Linux
            stop = time.perf_counter() + 5.0  # a signal takes a moment
            while state.read_text().rpartition(")")[2].split()[0] != "T":
                assert time.perf_counter() < stop, "the worker was not stopped"
                time.sleep(0.001)
    assert process.poll() is not None
    assert os.listdir(tmp_path)
