"""compile(): losses, weights and metrics for one and several outputs, names in logs, and the jit switch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphcore import losses, metrics, ops
from graphcore.layers import Dense, Input, Layer
from graphcore.models import Model, Sequential
from graphcore.optimizers import SGD

X = np.array([[1.0], [2.0], [-1.0]], np.float32)
A, B = np.array([1.0, 0.0, 2.0]), np.array([3.0, 1.0, 1.0])


def two_outputs(**kwargs: Any) -> Model:
    """Outputs `a` = x and `b` = 2x."""
    inputs = Input((1,), name="x")
    a = Dense(1, use_bias=False, kernel_initializer="ones", name="a")(inputs)
    b = Dense(1, use_bias=False, name="b")(inputs)
    model = Model(inputs, [a, b])
    model.get_layer("b").set_weights([np.full((1, 1), 2.0)])
    model.compile(**{"optimizer": SGD(0.0), "jit": False, **kwargs})
    return model


def scores(units: int, **kwargs: Any) -> Sequential:
    """A softmax over x repeated with fixed weights."""
    model = Sequential([Input((1,)), Dense(units, activation="softmax" if units > 1 else "sigmoid")])
    model.compile(**{"optimizer": SGD(0.0), "jit": False, **kwargs})
    return model


def mse(target: Any, factor: float) -> float:
    return float(np.mean((factor * X[:, 0] - target) ** 2))


MSE_A, MSE_B = mse(A, 1), mse(B, 2)


# Losses


@pytest.mark.parametrize("loss", ["mse", losses.MeanSquaredError(), losses.mean_squared_error])
def test_a_loss_is_a_name_an_object_or_a_function(loss: Any) -> None:
    model = Sequential([Input((1,)), Dense(1, kernel_initializer="ones", use_bias=False)])
    model.compile(SGD(0.0), loss, jit=False)
    assert model.evaluate(X, A, verbose=0) == pytest.approx(MSE_A)


def test_a_function_of_the_users() -> None:
    def largest(y_true: Any, y_pred: Any) -> Any:
        return ops.max(ops.abs(y_true - y_pred))

    model = Sequential([Input((1,)), Dense(1, kernel_initializer="ones", use_bias=False)])
    model.compile(SGD(0.0), largest, metrics=[largest], jit=False)
    values = model.evaluate(X, A, verbose=0, return_dict=True)
    assert values == pytest.approx({"loss": 3.0, "largest": 3.0})


@pytest.mark.parametrize(
    ("loss", "weights", "total"),
    [
        ("mse", None, MSE_A + MSE_B),
        (["mse", "mse"], [1.0, 0.5], MSE_A + 0.5 * MSE_B),
        ({"b": "mse", "a": "mse"}, {"a": 2.0, "b": 0.25}, 2 * MSE_A + 0.25 * MSE_B),
        ({"b": "mse", "a": "mse"}, {"a": 2.0}, 2 * MSE_A + MSE_B),
        (("mse", losses.MeanSquaredError()), None, MSE_A + MSE_B),
    ],
)
def test_several_losses_are_summed_weighted_and_reported_unweighted(loss: Any, weights: Any, total: float) -> None:
    model = two_outputs(loss=loss, loss_weights=weights)
    values = model.evaluate(X, [A, B], verbose=0, return_dict=True)
    assert values == pytest.approx({"a_loss": MSE_A, "b_loss": MSE_B, "loss": total})
    assert model.metrics_names == ["loss", "a_loss", "b_loss"]
    assert model.evaluate(X, [A, B], verbose=0) == pytest.approx([total, MSE_A, MSE_B])


def test_an_output_without_loss_needs_no_target() -> None:
    model = two_outputs(loss=[None, "mse"])
    assert model.evaluate(X, B, verbose=0) == pytest.approx(MSE_B)
    assert model.evaluate(X, [A, B], verbose=0) == pytest.approx(MSE_B)
    assert model.evaluate(X, {"b": B}, verbose=0) == pytest.approx(MSE_B)


@pytest.mark.parametrize("targets", [[A, B], (A, B), {"a": A, "b": B}, {"b": B, "a": A}])
def test_targets_by_position_or_name(targets: Any) -> None:
    model = two_outputs(loss="mse")
    values = model.evaluate(X, targets, verbose=0, return_dict=True)
    assert values["a_loss"] == pytest.approx(MSE_A)
    assert values["b_loss"] == pytest.approx(MSE_B)


def test_per_output_losses_weigh_batches_by_size() -> None:
    values = two_outputs(loss="mse").evaluate(X, [A, B], batch_size=2, verbose=0, return_dict=True)
    assert values == pytest.approx({"a_loss": MSE_A, "b_loss": MSE_B, "loss": MSE_A + MSE_B})


def test_outputs_in_a_dict_are_named_by_its_keys() -> None:
    inputs = Input((1,))
    outputs = {"second": Dense(1, kernel_initializer="ones", use_bias=False)(inputs), "first": inputs * 2.0}
    model = Model(inputs, outputs)
    model.compile(SGD(0.0), {"first": "mse", "second": "mse"}, metrics={"first": ["mae"]}, jit=False)
    values = model.evaluate(X, {"first": B, "second": A}, verbose=0, return_dict=True)
    assert values == pytest.approx(
        {
            "loss": MSE_A + MSE_B,
            "first_loss": MSE_B,
            "second_loss": MSE_A,
            "first_mae": float(np.mean(np.abs(2 * X[:, 0] - B))),
        }
    )


def test_sample_weights_for_each_output() -> None:
    model = two_outputs(loss="mse")
    w = [np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])]
    values = model.evaluate(X, [A, B], sample_weight=w, verbose=0, return_dict=True)
    assert values["a_loss"] == pytest.approx((1 - A[0]) ** 2 / 3)
    assert values["b_loss"] == pytest.approx((4 - B[1]) ** 2 / 3)


class Penalty(Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(0.5 * ops.sum(ops.abs(x)))
        return x


def test_regularizers_added_losses_and_activity_regularizers_join_the_total() -> None:
    inputs = Input((1,))
    x = Dense(1, use_bias=False, kernel_initializer="ones", kernel_regularizer="l2")(inputs)
    x = Dense(1, use_bias=False, kernel_initializer="ones", activity_regularizer="l1")(x)
    model = Model(inputs, Penalty()(x))
    model.compile(SGD(0.0), "mse", jit=False)
    size = np.abs(X).sum()
    expected = MSE_A + 0.01 * 1.0 + 0.01 * size / len(X) + 0.5 * size
    assert model.evaluate(X, A, verbose=0) == pytest.approx(float(expected), rel=1e-6)


def test_added_losses_alone_are_enough() -> None:
    inputs = Input((1,))
    model = Model(inputs, Penalty()(Dense(1, use_bias=False, kernel_initializer="ones")(inputs)))
    model.compile(SGD(0.25), jit=False)
    history = model.fit(X, verbose=0)
    assert history.history["loss"] == pytest.approx([0.5 * 4.0])
    # d/dw of 0.5·Σ|w·x| at w = 1 is 0.5·Σ|x| = 2.
    assert model.get_weights()[0][0, 0] == pytest.approx(1 - 0.25 * 2)


# Metrics


@pytest.mark.parametrize(
    ("units", "labels", "name"),
    [
        (1, np.array([0, 1, 1]), "BinaryAccuracy"),
        (3, np.array([0, 1, 2]), "SparseCategoricalAccuracy"),
        (3, np.array([[0], [1], [2]]), "SparseCategoricalAccuracy"),
        (3, np.eye(3), "CategoricalAccuracy"),
    ],
)
@pytest.mark.parametrize("given", ["accuracy", "acc"])
def test_accuracy_goes_by_shapes_and_keeps_its_name(units: int, labels: Any, name: str, given: str) -> None:
    model = scores(units, loss="crossentropy", metrics=[given])
    values = model.evaluate(X, labels, verbose=0, return_dict=True)
    assert list(values) == [given, "loss"]
    assert type(model.metrics[1].metrics[0]).__name__ == name


def test_metrics_of_several_outputs_are_named_after_them() -> None:
    expected = {"a_mae", "b_mae", "b_mse", "a_loss", "b_loss", "loss"}
    for given in (["mae", ["mae", "mse"]], {"a": "mae", "b": ["mae", "mse"]}):
        values = two_outputs(loss="mse", metrics=given).evaluate(X, [A, B], verbose=0, return_dict=True)
        assert set(values) == expected
        assert values["b_mae"] == pytest.approx(float(np.mean(np.abs(2 * X[:, 0] - B))))


def test_the_metrics_of_one_output_may_be_left_out() -> None:
    values = two_outputs(loss="mse", metrics=[None, ["mae"]]).evaluate(X, [A, B], verbose=0, return_dict=True)
    assert set(values) == {"b_mae", "a_loss", "b_loss", "loss"}


def test_clashing_names_are_numbered_and_weighted_ones_prefixed() -> None:
    model = Sequential([Input((1,)), Dense(1)])
    model.compile(SGD(0.0), "mse", metrics=["mae", "mae"], weighted_metrics=["mae", "mae"], jit=False)
    values = model.evaluate(X, A, verbose=0, return_dict=True)
    assert sorted(values) == ["loss", "mae", "mae_1", "weighted_mae", "weighted_mae_1"]


def test_metric_objects_keep_their_own_names() -> None:
    model = Sequential([Input((1,)), Dense(1)])
    given = [metrics.MeanAbsoluteError(name="error"), losses.mean_squared_error]
    model.compile(SGD(0.0), "mse", metrics=given, jit=False)
    assert sorted(model.evaluate(X, A, verbose=0, return_dict=True)) == ["error", "loss", "mean_squared_error"]


def test_the_models_own_metrics_are_reported_after_those_of_compile() -> None:
    class Tracked(Sequential):
        def __init__(self) -> None:
            super().__init__([Input((1,)), Dense(1, kernel_initializer="ones", use_bias=False)])
            self.largest = metrics.Mean(name="largest")

        def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            self.largest.update_state(ops.max(y_pred))
            return super().compute_metrics(x, y, y_pred, sample_weight)

    model = Tracked()
    model.compile(SGD(0.0), "mse", metrics=["mae"], jit=False)
    values = model.evaluate(X, A, verbose=0, return_dict=True)
    assert values["largest"] == 2.0
    assert model.metrics_names == ["loss", "compile_metrics", "largest"]


# The jit switch


@pytest.mark.parametrize(
    ("kwargs", "compiles"),
    [
        ({}, True),
        ({"jit": True}, True),
        ({"jit": False}, False),
        ({"jit_compile": True}, True),
        ({"jit_compile": False}, False),
        ({"jit": False, "jit_compile": False}, False),
        ({"jit": False, "jit_compile": "auto"}, False),
        ({"run_eagerly": True}, False),
    ],
)
def test_jit_and_jit_compile_are_one_switch(kwargs: dict[str, Any], compiles: bool) -> None:
    model = Sequential([Input((1,)), Dense(1)])
    model.compile("sgd", "mse", **kwargs)
    assert model.jit_compile is compiles


def test_eager_wins_over_jit_with_a_warning() -> None:
    model = Sequential([Input((1,)), Dense(1)])
    with pytest.warns(UserWarning, match="jit=True has no effect"):
        model.compile("sgd", "mse", run_eagerly=True, jit=True)
    assert not model.jit_compile


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"jit": True, "jit_compile": False}, "the same switch and must agree"),
        ({"jit": "yes"}, "`jit` must be True or False"),
        ({"jit_compile": "sometimes"}, "must be True, False or 'auto'"),
        ({"metrics": "accuracy"}, "`metrics` must be a list, tuple or dict"),
        ({"weighted_metrics": metrics.Mean()}, "`weighted_metrics` must be a list, tuple or dict"),
        ({"loss_weights": "a"}, "`loss_weights` must be a float"),
        ({"steps_per_execution": 0}, "`steps_per_execution` must be a positive integer"),
        ({"optimizer": "addam"}, "addam"),
    ],
)
def test_arguments_that_are_refused(kwargs: dict[str, Any], message: str) -> None:
    model = Sequential([Input((1,)), Dense(1)])
    with pytest.raises(ValueError, match=message):
        model.compile(**{"optimizer": "sgd", "loss": "mse", **kwargs})
    assert not model.compiled


def test_defaults_are_those_of_keras() -> None:
    model = Sequential([Input((1,)), Dense(1)])
    model.compile()
    assert type(model.optimizer).__name__ == "RMSprop"
    assert model.loss is None
    assert model.training_session.steps_per_execution is None
