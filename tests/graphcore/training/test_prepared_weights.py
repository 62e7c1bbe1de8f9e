"""What a program makes of weights alone is kept between runs: every way of changing weights must show at once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphcore as keras
from graphcore import layers, ops
from graphcore.training.data.arrays import Batch


class LowRank(layers.Layer):
    """x @ (a @ b): the product of the weights needs no input."""

    def build(self, input_shape: Any) -> None:
        self.a = self.add_weight(shape=(input_shape[-1], 2), initializer="glorot_uniform", name="a")
        self.b = self.add_weight(shape=(2, 24), initializer="glorot_uniform", name="b")

    def call(self, x: Any) -> Any:
        return ops.matmul(x, ops.matmul(self.a, self.b))


def make_model(layer: LowRank | None = None) -> keras.Model:
    inputs = keras.Input((24,))
    model = keras.Model(inputs, layers.Dense(3)((layer or LowRank())(inputs)))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


X = np.random.default_rng(0).standard_normal((16, 24)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((16, 3)).astype(np.float32)


def check(model: keras.Model, rows: int = 16) -> None:
    """Predictions, both ways, against float64."""
    a, b, w, c = (weight.astype(np.float64) for weight in model.get_weights())
    right = X[:rows] @ (a @ b) @ w + c
    for outputs in (model.predict_on_batch(X[:rows]), model.predict(X[:rows], verbose=0)):
        np.testing.assert_allclose(outputs, right, rtol=1e-4, atol=1e-5)


@pytest.fixture
def model() -> keras.Model:
    made = make_model()
    check(made)
    assert made.lower("predict").compiled.program.prepared > 0
    assert made.lower("predict").compiled.memory.prepared_bytes >= 24 * 24 * 4
    return made


def test_assignments(model: keras.Model) -> None:
    layer = model.layers[1]
    for _ in range(2):
        layer.a.assign(layer.a.numpy() * 2)
        check(model)
        layer.b.assign_add(ops.ones_like(layer.b))
        check(model)
        model.set_weights([weight[::-1].copy() for weight in model.get_weights()])
        check(model)


def test_training_between_predictions(model: keras.Model) -> None:
    for _ in range(2):
        before = model.predict_on_batch(X)
        model.train_on_batch(X, Y)
        check(model)
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
        check(model)
        assert not np.array_equal(before, model.predict_on_batch(X))
        model.evaluate(X, Y, verbose=0)
        check(model)


def test_interpreted_training_between_predictions(model: keras.Model) -> None:
    layer = model.layers[1]
    inputs = keras.Input((24,))
    twin = keras.Model(inputs, layers.Dense(3)(layer(inputs)))
    twin.compile("sgd", "mse", jit=False)
    twin.train_on_batch(X, Y)
    check(model)


def test_saved_weights(model: keras.Model, tmp_path: Path) -> None:
    before = model.predict_on_batch(X)
    model.save_weights(tmp_path / "m.weights.h5")
    model.train_on_batch(X, Y)
    check(model)
    model.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(model.predict_on_batch(X), before)


def test_two_models_that_share_a_layer(model: keras.Model) -> None:
    other = make_model(model.layers[1])
    for _ in range(2):
        other.fit(X, Y, epochs=1, verbose=0)
        check(model)
        check(other)
        model.fit(X, Y, epochs=1, verbose=0)
        check(other)
        check(model)


def test_batch_sizes_take_turns(model: keras.Model) -> None:
    for rows in (1, 16, 3, 1, 16):
        check(model, rows)
        model.layers[1].a.assign(model.layers[1].a.numpy() + 0.1)
        check(model, 3)


def test_measuring_puts_everything_back(model: keras.Model) -> None:
    model.train_on_batch(X, Y)
    before = model.predict_on_batch(X)
    session = model.training_session
    session.latest["train"].measure(Batch(X, Y), runs=2)
    session.latest["predict"].measure(Batch(X), runs=2)
    np.testing.assert_array_equal(model.predict_on_batch(X), before)
    check(model)


def test_frozen_layers_are_prepared_in_training_too() -> None:
    model = make_model()
    model.layers[1].trainable = False
    model.compile(keras.optimizers.SGD(0.05), "mse")
    model.train_on_batch(X, Y)
    assert model.lower("train").compiled.program.prepared > 0
    reference = make_model()
    reference.layers[1].trainable = False
    reference.compile(keras.optimizers.SGD(0.05), "mse")
    for scale in (1.0, -0.5):
        for each in (model, reference):
            each.layers[1].a.assign(np.full((24, 2), scale, np.float32))
        reference.set_weights(model.get_weights())
        model.train_on_batch(X, Y)
        reference.train_on_batch(X, Y)
        for one, other in zip(model.get_weights(), reference.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_training_in_another_thread(model: keras.Model) -> None:
    """Whatever predictions meanwhile saw, the first one after training sees the trained weights."""
    for _ in range(3):
        worker = threading.Thread(target=model.fit, args=(X, Y), kwargs={"epochs": 20, "verbose": 0})
        worker.start()
        while worker.is_alive():
            model.predict_on_batch(X)
        worker.join()
        check(model)


def test_weights_cannot_be_changed_behind_the_programs_back(model: keras.Model) -> None:
    variable = model.layers[1].a
    for array in (variable.array, variable.value, np.asarray(variable), variable.assign(variable)):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    copy = variable.numpy()
    copy[...] = 0
    check(model)
