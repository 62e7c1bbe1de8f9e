"""What is refused: the message says what to do, and nothing has changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from graphcore import losses
from graphcore.callbacks import Callback
from graphcore.layers import Dense, Input
from graphcore.models import Model, Sequential

X, Y = np.ones((6, 4), np.float32), np.arange(6) % 3


class Count(Callback):
    calls = 0

    def on_train_begin(self, logs: Any = None) -> None:
        Count.calls += 1


def classifier(loss: Any = "sparse_categorical_crossentropy") -> Sequential:
    model = Sequential([Input((4,), name="features"), Dense(3, activation="softmax", name="scores")])
    model.compile("adam", loss, metrics=["accuracy"], jit=False)
    return model


def state_of(model: Any) -> list[np.ndarray[Any, Any]]:
    variables = [*model.variables, *model.optimizer.variables]
    variables += [variable for metric in model.metrics for variable in metric.variables]
    return [variable.numpy() for variable in variables]


def labels(value: float) -> np.ndarray[Any, Any]:
    changed = Y.astype(np.float64)
    changed[4] = value
    return changed


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"y": Y[:5]}, "Data cardinality is ambiguous"),
    ({"x": X[:0], "y": Y[:0]}, "`x` has no samples"),
    ({"batch_size": 0}, "`batch_size` must be a positive integer"),
    ({"batch_size": -3}, "`batch_size` must be a positive integer"),
    ({"epochs": -1}, "`epochs` must be an integer from 0"),
    ({"epochs": 1.5}, "`epochs` must be an integer from 0"),
    ({"initial_epoch": "a"}, "`initial_epoch` must be an integer from 0"),
    ({"steps_per_epoch": 0}, "`steps_per_epoch` must be a positive integer"),
    ({"validation_steps": -1, "validation_data": (X, Y)}, "`validation_steps` must be a positive integer"),
    ({"validation_freq": "often"}, "`validation_freq` must be a positive integer or a list"),
    ({"verbose": 3}, "`verbose` must be 0, 1, 2 or 'auto'"),
    ({"validation_split": 1.5}, "`validation_split` must be between 0 and 1"),
    ({"validation_split": 0.99}, "too few to split"),
    ({"y": labels(np.nan)}, "needs integer labels from 0 to 2 in `y`. Received: nan"),
    ({"y": labels(0.5)}, "needs integer labels from 0 to 2 in `y`. Received: 0.5"),
    ({"y": labels(3)}, "needs integer labels from 0 to 2 in `y`. Received: 3"),
    ({"y": labels(-1)}, "needs integer labels from 0 to 2 in `y`. Received: -1"),
    ({"validation_data": (X, labels(7))}, "needs integer labels from 0 to 2 in `y`. Received: 7"),
    ({"x": X[:, :3]}, "features|4"),
    ({"x": np.ones((6, 4, 2), np.float32)}, "features|4"),
    ({"x": [X, X]}, "input"),
    ({"x": X.astype(str)}, "`x` must hold numbers"),
    ({"y": None}, "y"),
    ({"y": [Y, Y]}, "`y` must have 1 targets. Received: 2"),
    ({"y": np.eye(3)[Y]}, "shape"),
    ({"sample_weight": np.ones(5)}, "cardinality"),
    ({"sample_weight": np.ones((6, 2, 2))}, "sample_weight"),
    ({"class_weight": {0: 2.0}, "sample_weight": np.ones(6)}, "at the same time"),
    ({"callbacks": [Callback]}, "call it"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_fit_refuses_and_changes_nothing(change: dict[str, Any], message: str) -> None:
    model = classifier()
    model.fit(X, Y, verbose=0)
    before = state_of(model)
    Count.calls = 0
    arguments = {"x": X, "y": Y, "verbose": 0, "callbacks": [Count()], **change}
    with pytest.raises(ValueError, match=message):
        model.fit(**arguments)
    assert Count.calls == 0
    for old, new in zip(before, state_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(X, Y, verbose=0)


def test_the_first_fit_may_fail_and_leaves_the_model_as_it_was() -> None:
    model = classifier("crossentropy")
    weights = model.get_weights()
    with pytest.raises(ValueError, match="shape"):
        model.fit(X, np.ones((6, 2)), verbose=0)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # What "crossentropy" and "accuracy" meant for those labels is forgotten.
    model.fit(X, Y, verbose=0)
    assert type(model.metrics[1].metrics[0]).__name__ == "SparseCategoricalAccuracy"


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_compile_comes_first(method: str) -> None:
    model = Sequential([Input((4,)), Dense(3)])
    with pytest.raises(ValueError, match=rf"call `compile\(\)` before calling `{method}\(\)`"):
        getattr(model, method)(X, Y)


def test_there_must_be_a_loss() -> None:
    model = Sequential([Input((4,)), Dense(3)])
    model.compile("sgd", jit=False)
    with pytest.raises(ValueError, match="There is no loss to compute"):
        model.fit(X, Y, verbose=0)


def test_training_needs_an_optimizer() -> None:
    model = Sequential([Input((4,)), Dense(1)])
    model.compile(None, "mse", jit=False)
    with pytest.raises(ValueError, match="no optimizer"):
        model.fit(X, Y, verbose=0)
    assert model.evaluate(X, Y, verbose=0) > 0


@pytest.mark.parametrize("method", ["evaluate", "test_on_batch", "train_on_batch"])
def test_labels_are_checked_everywhere(method: str) -> None:
    model = classifier()
    before = state_of(model)
    with pytest.raises(ValueError, match="Received: 3"):
        getattr(model, method)(X, labels(3))
    for old, new in zip(before, state_of(model), strict=False):
        np.testing.assert_array_equal(old, new)


def test_labels_of_a_generator_are_checked_batch_by_batch() -> None:
    def batches() -> Iterator[Any]:
        yield X, Y
        yield X, labels(9)

    model = classifier()
    with pytest.raises(ValueError, match="Received: 9"):
        model.fit(batches(), verbose=0)


def test_an_ignored_class_may_lie_outside() -> None:
    model = classifier(losses.SparseCategoricalCrossentropy(ignore_class=-1))
    model.training_session.compile_metrics = None
    model.fit(X, labels(-1), verbose=0)
    with pytest.raises(ValueError, match="Received: -2"):
        model.fit(X, labels(-2), verbose=0)


def test_labels_of_one_of_several_outputs_are_named() -> None:
    inputs = Input((4,))
    outputs = [Dense(3, activation="softmax", name="kind")(inputs), Dense(1, name="size")(inputs)]
    model = Model(inputs, outputs)
    model.compile("sgd", {"kind": "sparse_categorical_crossentropy", "size": "mse"}, jit=False)
    with pytest.raises(ValueError, match=r"in `y\['kind'\]`. Received: 5"):
        model.fit(X, [labels(5), Y], verbose=0)


def test_integer_inputs_take_whole_numbers_only() -> None:
    inputs = Input((2,), dtype="int32", name="tokens")
    model = Model(inputs, inputs + 0)
    model.training_session.jit = False
    np.testing.assert_array_equal(model.predict(np.array([[1.0, 2.0]]), verbose=0), [[1, 2]])
    for bad in (0.5, np.nan, np.inf):
        with pytest.raises(ValueError, match="Input 'tokens' has dtype int32, so `x` must hold whole numbers"):
            model.predict(np.array([[1.0, bad]]), verbose=0)


@pytest.mark.parametrize(
    ("compile_arguments", "targets", "message"),
    [
        ({"loss": ["mse"]}, [Y, Y], "the model has 2 outputs .'a', 'b'., so `loss` must have 2 elements. Received: 1"),
        ({"loss": {"a": "mse", "c": "mse"}}, [Y, Y], "keys of `loss` must be the names of the model's outputs"),
        ({"loss": {"a": "mse"}}, [Y, Y], "keys of `loss` must be the names of the model's outputs"),
        ({"loss": "mse"}, Y, "`y` must have 2 targets. Received: 1"),
        ({"loss": "mse"}, [Y, Y, Y], "`y` must have 2 targets. Received: 3"),
        ({"loss": "mse"}, {"a": Y, "c": Y}, "`y` must have 2 targets|names of the model's outputs"),
        ({"loss": "mse", "loss_weights": [1.0]}, [Y, Y], "`loss_weights` must have 2 elements. Received: 1"),
        ({"loss": "mse", "loss_weights": 2.0}, [Y, Y], "`loss_weights` must be a list or dict"),
        ({"loss": "mse", "metrics": ["mae"]}, [Y, Y], "`metrics` must be a dict from output name"),
        ({"loss": "mse", "metrics": {"c": "mae"}}, [Y, Y], "keys of `metrics` must be the names"),
        ({"loss": losses.MeanSquaredError(reduction="none")}, [Y, Y], "must reduce a batch to one number"),
        ({"loss": "mse", "metrics": [[None], "mae"]}, [Y, Y], "`metrics` must hold names"),
    ],
)
def test_what_does_not_fit_two_outputs(compile_arguments: dict[str, Any], targets: Any, message: str) -> None:
    inputs = Input((4,))
    model = Model(inputs, [Dense(1, name="a")(inputs), Dense(1, name="b")(inputs)])
    model.compile("sgd", jit=False, **compile_arguments)
    before = model.get_weights()
    with pytest.raises(ValueError, match=f"(?i){message}"):
        model.fit(X, targets, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
