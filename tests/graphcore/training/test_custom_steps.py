"""Overridden steps are traced like the built-in ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphcore import metrics, ops
from graphcore.layers import Dense, Input
from graphcore.models import Model, Sequential
from graphcore.optimizers import SGD
from graphcore.training.gradients import gradients

X, Y = np.array([[1.0], [2.0]]), np.array([[3.0], [1.0]])


def layers() -> list[Any]:
    return [Input((1,)), Dense(1, use_bias=False, kernel_initializer="ones")]


class Doubled(Sequential):
    """Trains on twice the loss and reports a metric of its own."""

    def __init__(self) -> None:
        super().__init__(layers())
        self.tracker = metrics.Mean(name="twice")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        loss = 2 * ops.mean(ops.square(self(x, training=True) - y))
        self.optimizer.apply(gradients(loss, self.trainable_variables), self.trainable_variables)
        self.tracker.update_state(loss)
        return {"twice": self.tracker.result(), "batch": loss}

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        self.tracker.update_state(ops.mean(ops.abs(self(x) - y)))
        return {"twice": self.tracker.result()}


def test_an_overridden_train_step_is_what_runs() -> None:
    model = Doubled()
    model.compile(SGD(0.1), jit=False)
    history = model.fit(X, Y, batch_size=2, verbose=0)
    error = X - Y
    assert history.history["twice"] == pytest.approx([2 * np.mean(error**2)])
    assert history.history["batch"] == pytest.approx([2 * np.mean(error**2)])
    assert model.get_weights()[0][0, 0] == pytest.approx(1 - 0.1 * np.mean(4 * error * X))


def test_an_overridden_test_step_is_what_evaluates() -> None:
    model = Doubled()
    model.compile(SGD(0.1), jit=False)
    assert model.evaluate(X, Y, batch_size=1, verbose=0) == pytest.approx(float(np.mean(np.abs(X - Y))))
    history = model.fit(X, Y, validation_data=(X, Y), batch_size=2, verbose=0)
    assert set(history.history) == {"twice", "batch", "val_twice"}


def test_two_optimizers_as_in_adversarial_training() -> None:
    class Pair(Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (Dense(1, use_bias=False, kernel_initializer="ones") for _ in range(2))

        def compile(self, first_optimizer: Any, second_optimizer: Any) -> None:
            super().compile(jit=False)
            self.first_optimizer, self.second_optimizer = first_optimizer, second_optimizer

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

        def train_step(self, data: Any) -> dict[str, Any]:
            loss = ops.mean(self(data))
            for layer, optimizer in ((self.first, self.first_optimizer), (self.second, self.second_optimizer)):
                variables = layer.trainable_variables
                optimizer.apply(gradients(loss, variables), variables)
            return {"loss": loss}

    model = Pair()
    model.compile(SGD(0.1), SGD(0.5))
    assert model.fit(X, verbose=0).history["loss"] == [1.5]
    first, second = (float(weight[0, 0]) for weight in model.get_weights())
    assert first == pytest.approx(1 - 0.1 * 1.5)
    assert second == pytest.approx(1 - 0.5 * 1.5)


def test_an_overridden_loss() -> None:
    class Scaled(Sequential):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            return (3.0 if training else 1.0) * super().compute_loss(x, y, y_pred, sample_weight, training)

    model = Scaled(layers())
    model.compile(SGD(0.0), "mse", jit=False)
    base = float(np.mean((X - Y) ** 2))
    history = model.fit(X, Y, validation_data=(X, Y), verbose=0)
    assert history.history["loss"] == pytest.approx([3 * base])
    assert history.history["val_loss"] == pytest.approx([base])


def test_an_overridden_prediction() -> None:
    class Rounded(Sequential):
        def predict_step(self, data: Any) -> Any:
            return {"rounded": ops.round(super().predict_step(data)), "constant": 7}

    model = Rounded(layers())
    model.training_session.jit = False
    assert model.predict(np.array([[1.4], [2.6]]), verbose=0)["rounded"].tolist() == [[1.0], [3.0]]


def test_steps_return_dicts() -> None:
    class Wrong(Sequential):
        def train_step(self, data: Any) -> Any:
            return ops.mean(self(data[0]))

    model = Wrong(layers())
    model.compile("sgd", "mse", jit=False)
    with pytest.raises(ValueError, match="`train_step` must return a dict of logs"):
        model.fit(X, Y, verbose=0)


def test_gradients_work_in_a_traced_step_only() -> None:
    with pytest.raises(RuntimeError, match="inside a traced step only"):
        gradients(1.0, [])


def test_training_and_evaluation_tell_the_layers_which_it_is() -> None:
    seen: list[Any] = []

    class Watch(Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = Dense(1)

        def call(self, x: Any, training: Any = None) -> Any:
            seen.append(training)
            return self.dense(x)

    model = Watch()
    model.compile("sgd", "mse", jit=False)
    model.build((None, 1))
    for run, expected in ((model.train_on_batch, True), (model.test_on_batch, False)):
        seen.clear()
        run(X, Y)
        assert set(seen) == {expected}
    seen.clear()
    model.predict_on_batch(X)
    assert set(seen) == {False}
