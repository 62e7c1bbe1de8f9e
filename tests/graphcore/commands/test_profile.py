"""`graphcore profile`: models and graphs on data made up for them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import graphcore as keras
from compiler.roof import Roof
from graphcore import cli, layers, profiling
from graphcore.random_data import random_inputs, random_targets

SCRIPT = """
import graphcore as keras
from graphcore import layers

words = keras.Sequential([keras.Input((None,), dtype="int32"), layers.Embedding(7, 4), layers.GRU(5), layers.Dense(3)])
"""

GRAPH = """
graph double {
  input %x "x": f32[batch,n]
  %y: f32[batch,n] = add(%x, %x)
  return "y"=%y
}
"""


@pytest.fixture(autouse=True)
def known_roof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "roof", lambda threads: Roof(threads, threads * 1e11, 1e10, 1e10))


def test_a_training_step_of_a_model_in_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, figures, trace = tmp_path / "words.py", tmp_path / "figures.json", tmp_path / "trace.json"
    script.write_text(SCRIPT, encoding="utf-8")
    options = ["--kind", "train", "--loss", "sparse_categorical_crossentropy", "--batch", "6", "--length", "9"]
    files = ["--json", str(figures), "--trace", str(trace)]
    assert cli.main(["profile", f"{script}:words", *options, "--runs", "3", *files]) == 0
    assert re.search(r"gru\w*/gru_cell", capsys.readouterr().out)  # other tests may have made such layers before
    (program,) = json.loads(figures.read_text())["programs"]
    assert (program["name"], program["runs"], program["values"]["batch"]) == ("train_step", 3, 6)
    assert 9 in program["values"].values()
    assert json.loads(trace.read_text())["traceEvents"]


def test_a_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, figures = tmp_path / "double.gcir", tmp_path / "figures.json"
    path.write_text(GRAPH, encoding="utf-8")
    arguments = ["profile", str(path), "--size", "batch=8", "--size", "n=5", "--runs", "2", "--json", str(figures)]
    assert cli.main(arguments) == 0
    (program,) = json.loads(figures.read_text())["programs"]
    assert program["values"] == {"batch": 8, "n": 5}
    (kernel,) = program["kernels"]
    assert kernel["bytes"] == 2 * 4 * 8 * 5
    assert cli.main(["profile", str(path), "--size", "m=5"]) == 2
    assert "has no symbol 'm'; its symbols are: batch, n" in capsys.readouterr().err


def test_targets_are_of_the_form_that_losses_take() -> None:
    rng = np.random.default_rng(0)
    inputs = keras.Input((4,))
    heads = [layers.Dense(3, activation="softmax", name=name)(inputs) for name in "abc"]
    model = keras.Model(inputs, heads)
    model.compile(loss=["sparse_categorical_crossentropy", keras.losses.CategoricalCrossentropy(), "mse"])
    x = random_inputs(model, 5, 1, rng)
    sparse, one_hot, free = random_targets(model, x, rng)
    assert (sparse.shape, sparse.dtype.kind) == ((5,), "i")
    np.testing.assert_array_equal(one_hot.sum(-1), 1)
    assert free.shape == (5, 3)
    assert np.isfinite(model.train_on_batch(x, [sparse, one_hot, free])).all()


def test_what_cannot_be_made_up() -> None:
    model = keras.Sequential([layers.Dense(2)])
    with pytest.raises(ValueError, match="declares no inputs"):
        random_inputs(model, 2, 2, np.random.default_rng(0))
    plain = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="has no loss to train with"):
        random_targets(plain, np.ones((2, 3), np.float32), np.random.default_rng(0))
