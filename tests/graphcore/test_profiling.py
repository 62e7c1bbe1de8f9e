"""Profiles of models: which programs and layers they name, that they change nothing, and that they add up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import graphcore as keras
from compiler.roof import Roof
from graphcore import layers, profiling
from runtime import set_num_threads

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6, 5)).astype(np.float32)
Y = RNG.normal(size=(64, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def known_roof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the machine takes seconds, and is tested elsewhere."""
    monkeypatch.setattr(profiling, "roof", lambda threads: Roof(threads, threads * 1e11, 1e10, 1e10))


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest, threads_restored: None) -> int:
    set_num_threads(request.param)
    return int(request.param)


def recurrent() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 5))
    x = layers.LSTM(8, name="memory")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="<b>[red]head")(x), name="recurrent")
    model.compile(optimizer="adam", loss="mse")
    return model


def test_training_and_prediction_are_noted(threads: int) -> None:
    model = recurrent()
    with keras.profile() as p:
        model.fit(X, Y, batch_size=16, epochs=2, verbose=0, shuffle=False)
        model.predict(X, batch_size=64, verbose=0)
        model.train_on_batch(X[:8], Y[:8])
    runs = {(each.name, each.values.get("batch")): each.runs for each in p.programs}
    assert runs["train_step", 16] == 8
    assert runs["predict_step", 64] == 1
    assert runs["train_step", 8] == 1
    assert {"memory/lstm_cell", "<b>[red]head"} <= {layer.layer for layer in p.layers}
    assert sum(p.shares.values()) == pytest.approx(1)
    assert all(share >= -1e-9 for share in p.shares.values())
    parts = sum(k.total for k in p.kernels) + sum(each.waiting + each.between for each in p.programs)
    assert parts == pytest.approx(sum(each.total for each in p.programs))


def test_a_profile_changes_no_bit(threads: int) -> None:
    plain, noted = recurrent(), recurrent()
    plain.fit(X, Y, batch_size=16, epochs=2, verbose=0, shuffle=False)
    with keras.profile():
        noted.fit(X, Y, batch_size=16, epochs=2, verbose=0, shuffle=False)
    for one, other in zip(plain.get_weights(), noted.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_products_of_a_dense_layer_are_counted() -> None:
    model = keras.Sequential([keras.Input((40,)), layers.Dense(30, name="only")])
    p = model.profile(np.ones((50, 40), np.float32), runs=4)
    (program,) = p.programs
    assert (program.name, program.runs) == ("predict_step", 4)
    assert sum(kernel.flops for kernel in program.kernels if kernel.runs == 4) == 2 * 50 * 40 * 30


@pytest.mark.parametrize("kind", [None, "train", "test", "predict"])
def test_profile_of_a_step_puts_variables_back(kind: str | None) -> None:
    model = recurrent()
    before = model.get_weights()
    p = model.profile(X, Y, runs=3, kind=kind)
    assert [(each.name, each.runs) for each in p.programs] == [(f"{kind or 'train'}_step", 3)]
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(model.optimizer.iterations.numpy()) == 0


def test_what_it_refuses() -> None:
    model = recurrent()
    with pytest.raises(ValueError, match="`kind` must be one of 'train', 'test', 'predict'"):
        model.profile(X, Y, kind="fit")
    with pytest.raises(ValueError, match="`runs` must be a positive integer"):
        model.profile(X, runs=0)
    model.compile(loss="mse", jit=False)
    with pytest.raises(ValueError, match="Only compiled steps have kernels"):
        model.profile(X, Y)
    with keras.profile() as p, pytest.raises(RuntimeError, match="not finished"):
        _ = p.programs
    assert p.programs == ()
    assert p.shares["outside programs"] == 1
    with keras.profile(), pytest.raises(ValueError, match="being profiled already"):
        recurrent().profile(X)


def test_tables_and_plain_data_name_what_was_measured(tmp_path: Path) -> None:
    p = recurrent().profile(X, Y, runs=2)
    text = str(p)
    for expected in ("train_step", "batch=64", "memory/lstm_cell", "<b>[red]head", "GFLOP/s", "Of roof", "waiting"):
        assert expected in text
    assert "&lt;b&gt;[red]head" in p._repr_html_()
    assert "<b>" not in p._repr_html_()
    assert "2 runs of 1 programs" in repr(p)
    data = json.loads(json.dumps(p.to_dict()))
    assert data["programs"][0]["kernels"][0]["gbytes"] > 0
    assert data["shares"].keys() == {"kernels", "waiting", "between calls", "outside programs"}
    p.save_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    kinds = {event.get("cat") for event in trace["traceEvents"]}
    assert {"step", "instruction", "call"} <= kinds
