"""Targets made up for a model: every loss takes them, whatever it is called."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import graphcore as keras
from graphcore import layers, losses
from graphcore.random_data import random_targets

X = np.random.default_rng(0).uniform(size=(4, 6, 3)).astype(np.float32)
LOSSES = {
    name: loss
    for name, loss in vars(losses).items()
    if inspect.isclass(loss) and issubclass(loss, losses.Loss) and loss not in (losses.Loss, losses.LossFunctionWrapper)
}
NUMBERS = {"Circle", "CTC", "CategoricalGeneralizedCrossEntropy", "SparseCategoricalCrossentropy"}
ONE_HOT = {"CategoricalCrossentropy", "CategoricalFocalCrossentropy", "CategoricalHinge"}
BINARY = {"BinaryCrossentropy", "BinaryFocalCrossentropy"}


def classifier(loss: Any, rank: int = 3, **kwargs: Any) -> keras.Model:
    flatten = [layers.Flatten()] if rank == 2 else []
    model = keras.Sequential([keras.Input((6, 3)), *flatten, layers.Dense(10, activation="softmax")])
    model.compile(optimizer="sgd", loss=loss, jit=False, **kwargs)
    return model


def form_of(targets: np.ndarray, output: tuple[int, ...]) -> str:
    if targets.shape == output[:-1]:
        assert targets.dtype.kind == "i"
        return "numbers"
    assert targets.shape == output
    if not np.isin(targets, (0, 1)).all():
        return "floats"
    return "one-hot" if (targets.sum(-1) == 1).all() else "binary"


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_of_any_name_takes_the_targets_made_up_for_it(name: str) -> None:
    rank = 2 if name == "Circle" else 3
    model = classifier(LOSSES[name](name="mine"), rank)
    targets = random_targets(model, X, np.random.default_rng(1))
    expected = {
        **dict.fromkeys(NUMBERS, "numbers"),
        **dict.fromkeys(ONE_HOT, "one-hot"),
        **dict.fromkeys(BINARY, "binary"),
    }
    assert form_of(targets, (4, 10) if rank == 2 else (4, 6, 10)) == expected.get(name, "floats")
    assert np.isfinite(model.train_on_batch(X, targets))
    assert model.lower("train").step.graph.updates


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("bce", "binary"),
        ("ctc", "numbers"),
        ("crossentropy", "one-hot"),
        ("sparse_categorical_crossentropy", "numbers"),
        (losses.categorical_hinge, "one-hot"),
        (lambda y_true, y_pred: keras.ops.mean(y_true - y_pred, axis=-1), "floats"),
    ],
)
def test_names_and_functions_mean_what_they_compute(loss: Any, expected: str) -> None:
    model = classifier(loss)
    targets = random_targets(model, X, np.random.default_rng(1))
    assert form_of(targets, (4, 6, 10)) == expected
    assert np.isfinite(model.train_on_batch(X, targets))


def test_each_output_has_targets_of_its_own_loss() -> None:
    inputs = keras.Input((3,))
    heads = {name: layers.Dense(5, activation="softmax", name=name)(inputs) for name in ("number", "free", "hot")}
    model = keras.Model(inputs, heads)
    hot = losses.CategoricalCrossentropy(name="sparse")
    model.compile(loss={"number": losses.SparseCategoricalCrossentropy(name="hot"), "hot": hot, "free": None})
    targets = random_targets(model, X[:, 0], np.random.default_rng(1))
    found = {name: form_of(array, (4, 5)) for name, array in targets.items()}
    assert found == {"number": "numbers", "free": "floats", "hot": "one-hot"}
    assert np.isfinite(model.train_on_batch(X[:, 0], targets)).all()
