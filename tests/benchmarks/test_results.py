from __future__ import annotations

import json
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.report import BUSY_CORES, cell_text, figure, publish, to_markdown
from benchmarks.results import STATISTICS, Cell, Row, geometric_means, to_json

MACHINE = {
    "processor": "P",
    "llvm_name": "p",
    "cores": 2,
    "caches": {"L1": 32768},
    "vector_bits": 256,
    "vector_registers": 16,
    "system": "S",
    "python": "3",
    "date": "D",
    "load_average": [0.0, 0.0, 0.0],
}


def row(measure: str = "training step", **seconds: float) -> Row:
    cells = {name.replace("_", "-"): Cell.of([value, 2 * value]) for name, value in seconds.items()}
    return Row(measure, "mlp", 128, "s", cells)


def test_a_cell_keeps_median_and_minimum() -> None:
    cell = Cell.of([3.0, 1.0, 9.0, 4.0], [5.0, 7.0, 6.0], [0.0, 0.5])
    assert (cell.median, cell.minimum, cell.count, cell.processor, cell.foreign_cores) == (3.5, 1.0, 4, 6.0, 0.25)


def test_the_ratio_is_that_of_the_best_peer() -> None:
    one = row(graphcore=2.0, graphcore_fit=1.0, torch=5.0, keras_jax=3.0)
    assert one.best_peer == "keras-jax"
    assert one.ratio == pytest.approx(1.5)


def test_what_failed_is_no_peer() -> None:
    one = row(graphcore=2.0, torch=5.0)
    one.cells["keras-jax"] = Cell(error="no such thing")
    assert (one.best_peer, one.ratio) == ("torch", 2.5)


def test_there_is_no_ratio_without_both_sides() -> None:
    assert math.isnan(row(torch=1.0).ratio)
    assert math.isnan(row(graphcore=1.0, graphcore_fit=2.0).ratio)


def test_rows_compare_by_the_statistic_they_are_asked_for() -> None:
    cells = {"graphcore": Cell(2.0, 1.0, 3, 8.0), "torch": Cell(6.0, 5.0, 3, 4.0)}
    expected = {"median": 3.0, "minimum": 5.0, "processor": 0.5}
    assert {name: Row("m", "mlp", 1, "s", cells, name).ratio for name in STATISTICS} == expected


def test_geometric_means_leave_out_rows_without_a_ratio() -> None:
    rows = [row(graphcore=1.0, torch=2.0), row(graphcore=1.0, torch=8.0), row(torch=1.0), row("other", graphcore=1.0)]
    (mean,) = geometric_means(rows)
    assert (mean.measure, mean.rows) == ("training step", 2)
    assert mean.ratio == pytest.approx(4.0)


def test_the_document_is_plain_json_without_nan(tmp_path: object) -> None:
    rows = [row(graphcore=1.0, torch=2.0), Row("kernel", "matmul", 0, "s", {"torch": Cell(error="broken")})]
    document = to_json(rows, MACHINE, {"torch": {"torch": "2"}}, {"command": []})
    read = json.loads(json.dumps(document, allow_nan=False))
    assert set(read) == {"schema", "machine", "versions", "options", "rows", "geometric_means"}
    first, second = read["rows"]
    assert set(first) == {"measure", "workload", "batch", "unit", "statistic", "cells", "best_peer", "ratio"}
    assert set(first["cells"]["torch"]) == {"median", "minimum", "count", "processor", "foreign_cores", "error"}
    assert (first["best_peer"], first["ratio"]) == ("torch", 2.0)
    assert (second["best_peer"], second["ratio"], second["cells"]["torch"]["median"]) == (None, None, None)
    assert second["cells"]["torch"]["error"] == "broken"


def test_markdown_has_a_table_a_measure_and_says_what_failed() -> None:
    failed = Row("inference", "cnn", 64, "s", {"graphcore": Cell.of([1e-3]), "torch": Cell(error="bad\nluck")})
    text = to_markdown([row(graphcore=1.0, torch=2.0), failed])
    assert text.count("| workload | batch |") == 2
    assert "| mlp | 128 | 1.50 s (1.00 s) | 3.00 s (2.00 s) | torch | 2.00 |" in text
    assert "| cnn | 64 | 1.00 ms (1.00 ms) | failed |" in text
    assert "- inference, cnn, torch: bad luck" in text


def test_figures_of_a_busy_machine_are_marked() -> None:
    assert cell_text(Cell.of([1.0], [1.0], [2 * BUSY_CORES]), "s").endswith("†")
    assert not cell_text(Cell.of([1.0], [1.0], [0.0]), "s").endswith("†")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (1.2e-5, "s", "12.0 µs"),
        (105.0, "s", "105 s"),
        (3 * 2**20, "B", "3.00 MiB"),
        (math.nan, "s", "–"),
    ],
)
def test_figures(value: float, unit: str, text: str) -> None:
    assert figure(value, unit) == text


@given(st.floats(1e-7, 1e4))
def test_figures_keep_three_digits(value: float) -> None:
    number, unit = figure(value, "s").split()
    assert float(number) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[unit] == pytest.approx(value, rel=6e-3, abs=6e-10)


def test_publishing_writes_both_files(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    publish(tmp_path / "results", "peers", "text", {"a": 1})
    assert (tmp_path / "results" / "peers.md").read_text() == "text\n"
    assert json.loads((tmp_path / "results" / "peers.json").read_text()) == {"a": 1}
    assert str(tmp_path) in capsys.readouterr().out


def test_medians_are_the_standard_ones() -> None:
    values = [4.0, 1.0, 2.5]
    assert Cell.of(values).median == statistics.median(values)
