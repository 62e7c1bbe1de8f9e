from __future__ import annotations

import argparse
import math

import pytest

from benchmarks.__main__ import ALL, ONE, count_flops, step_table
from benchmarks.measures import KERNEL_TITLE, STEP_TITLES, Session, add_options
from benchmarks.report import to_markdown
from benchmarks.results import Cell, Row
from benchmarks.roof import Roof, table
from benchmarks.turns import Contestant, Team
from benchmarks.workloads import KERNELS, Task

ROOFS = [Roof(1, 100e9, 10e9, 11e9), Roof(2, 200e9, 15e9, 16.25e9)]


def row(**columns: float) -> Row:
    return Row("training step", "cnn", 64, "s", {name: Cell.of([value]) for name, value in columns.items()})


def test_shares_are_those_of_the_roof_on_as_many_threads() -> None:
    timed = row(**{ONE: 0.030, ALL: 0.020})
    text = step_table([timed], {("training step", "cnn", 64): 2_000_000_000}, ROOFS)
    # 2 GFLOP in 20 ms: 100 GFLOP/s of 200; in 30 ms: 66.7 of 100.
    assert text.splitlines()[-1] == (
        "| training step | cnn | 64 | 2 | 30.0 ms | 20.0 ms | 1.50 | 100.0 | 50.0% | 66.7% |"
    )


def test_a_missing_column_is_a_dash() -> None:
    text = step_table([row(**{ONE: 0.030})], {("training step", "cnn", 64): 2_000_000_000}, ROOFS)
    assert text.splitlines()[-1] == "| training step | cnn | 64 | 2 | 30.0 ms | – | – | – | – | 66.7% |"


def test_columns_that_are_no_engines_have_no_ratio() -> None:
    timed = row(**{ONE: 0.030, ALL: 0.020})
    assert math.isnan(timed.ratio)
    assert "best peer" not in to_markdown([timed])


def test_the_roof_as_a_table() -> None:
    assert table(ROOFS).splitlines()[2:] == ["| 1 | 100.0 | 10.0 | 11.0 |", "| 2 | 200.0 | 15.0 | 16.2 |"]


def test_operations_are_counted_for_rows_that_are_timed_a_step() -> None:
    kernel = KERNELS["matmul-1024"]
    rows = [
        Row(STEP_TITLES["latency"], "mlp", 1, "s", {}),
        Row("peak memory, cold", "mlp", 128, "B", {}),
        Row(KERNEL_TITLE, kernel.name, 0, "s", {}),
    ]
    forward = 2 * (784 * 128 + 128 * 64 + 64 * 10)
    assert count_flops(rows) == pytest.approx(
        {(STEP_TITLES["latency"], "mlp", 1): forward, (KERNEL_TITLE, kernel.name, 0): kernel.flops}
    )
    assert count_flops(rows[1:2]) == {}


def test_operations_of_a_loop_are_those_of_all_its_steps() -> None:
    # Two products with 80 steps of 4 gates forward; backward two for each; the embedding's numbers need no gradient.
    step = Row(STEP_TITLES["train"], "lstm", 32, "s", {})
    (count,) = count_flops([step]).values()
    assert count == 3 * (2 * 2 * 32 * 80 * 128 * 4 * 128) + 3 * 2 * 32 * 128


def test_an_interrupt_keeps_the_rows_that_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Task] = []

    def measure(team: Team, task: Task, names: list[str], rounds: int, seconds: float) -> dict[str, Cell]:
        asked.append(task)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return {name: Cell.of([float(len(asked))]) for name in names}

    monkeypatch.setattr(Team, "measure", measure)
    parser = argparse.ArgumentParser()
    add_options(parser, ("train", "latency", "kernels"))
    contestants = {"graphcore": Contestant("graphcore", 1), "onnxruntime": Contestant("onnxruntime", 1)}
    rows = Session(parser.parse_args(["--models", "mlp", "cnn"]), contestants, contestants).rows()
    assert [(row.measure, row.workload) for row in rows] == [
        (STEP_TITLES["train"], "mlp"),
        (STEP_TITLES["train"], "cnn"),
        (STEP_TITLES["latency"], "mlp"),
    ]
    assert list(rows[0].cells) == ["graphcore"]  # ONNX Runtime does not train
    assert list(rows[2].cells) == ["graphcore", "onnxruntime"]
    assert [row.value("graphcore") for row in rows] == [1.0, 3.0, 2.0]
