"""Steps of an embedding: the rows that the indices name move as in the interpreter, with every rule."""

from __future__ import annotations

import numpy as np
import pytest

import graphcore as keras
from graphcore import layers, optimizers

ROWS, LENGTH = 30, 6

RULES = {
    "sgd": {"class_name": "SGD", "config": {"learning_rate": 0.5}},
    "adagrad": {"class_name": "Adagrad", "config": {"learning_rate": 0.5}},
    "schedule": {
        "class_name": "Adagrad",
        "config": {
            "learning_rate": {
                "class_name": "ExponentialDecay",
                "config": {"initial_learning_rate": 0.5, "decay_steps": 1, "decay_rate": 0.5},
            }
        },
    },
    "clipnorm": {"class_name": "SGD", "config": {"learning_rate": 0.5, "clipnorm": 0.02}},
    "global_clipnorm": {"class_name": "Adagrad", "config": {"learning_rate": 0.5, "global_clipnorm": 0.02}},
    "clipvalue": {"class_name": "SGD", "config": {"learning_rate": 0.5, "clipvalue": 0.001}},
    "momentum": {"class_name": "SGD", "config": {"learning_rate": 0.5, "momentum": 0.9}},
    "weight_decay": {"class_name": "SGD", "config": {"learning_rate": 0.5, "weight_decay": 0.1}},
    "average": {"class_name": "SGD", "config": {"learning_rate": 0.5, "use_ema": True}},
    "accumulated": {"class_name": "SGD", "config": {"learning_rate": 0.5, "gradient_accumulation_steps": 2}},
    "adam": {"class_name": "Adam", "config": {"learning_rate": 0.05}},
}
SPARSE = ("sgd", "adagrad", "schedule", "clipnorm", "global_clipnorm", "clipvalue", "average")


def trained(rule: str, jit: bool) -> tuple[keras.Model, list[np.ndarray]]:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([
        keras.Input((LENGTH,), dtype="int32"),
        layers.Embedding(ROWS, 4, mask_zero=True),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1),
    ])
    model.compile(optimizers.deserialize(RULES[rule]), "mse", jit=jit)
    rng = np.random.default_rng(1)
    for count in (5, 3, 4):
        x = rng.integers(0, ROWS // 2, (count, LENGTH)).astype("int32")
        x[:, 0] = 1
        model.train_on_batch(x, rng.normal(size=(count, 1)).astype("float32"))
    return model, [np.asarray(value) for value in model.get_weights()]


@pytest.mark.parametrize("rule", RULES)
def test_compiled_steps_are_those_of_the_interpreter(rule: str) -> None:
    _, compiled = trained(rule, True)
    _, interpreted = trained(rule, False)
    for got, wanted in zip(compiled, interpreted, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_rows_without_gradient_stay_where_the_rule_says_so(rule: str) -> None:
    model, weights = trained(rule, True)
    compiled = model.lower("train").compiled
    sparse = any("touched_rows" in instruction.label for instruction in compiled.program.instructions)
    assert sparse is (rule in SPARSE)
    if not sparse:
        return
    keras.utils.set_random_seed(3)
    fresh = layers.Embedding(ROWS, 4)
    fresh.build()
    np.testing.assert_array_equal(weights[0][ROWS // 2 :], np.asarray(fresh.get_weights()[0])[ROWS // 2 :])


class Places(layers.Layer):
    """Adds a vector for each place: its indices are counted, not given."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = layers.Embedding(2 * LENGTH, 3)

    def call(self, x: object) -> object:
        return x + self.vectors(keras.ops.arange(keras.ops.shape(x)[1]))


@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adam"])
@pytest.mark.parametrize("length", [LENGTH, None])
def test_indices_that_the_program_computes(rule: str, length: int | None) -> None:
    weights = []
    for jit in (True, False):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((length, 3)), Places(), layers.Dense(1)])
        model.compile(optimizers.deserialize(RULES[rule]), "mse", jit=jit)
        rng = np.random.default_rng(1)
        for count in (5, 3):
            x = rng.normal(size=(count, LENGTH, 3)).astype("float32")
            model.train_on_batch(x, rng.normal(size=(count, LENGTH, 1)).astype("float32"))
        weights.append([np.asarray(value) for value in model.get_weights()])
    for got, wanted in zip(*weights, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
