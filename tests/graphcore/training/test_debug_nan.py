"""`compile(debug="nan")`: planted NaN and infinity are found where they were planted, and nothing is half done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphcore as keras
from compiler.nonfinite import NonFiniteError
from graphcore import layers, ops

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 4)).astype(np.float32), np.zeros((8, 2), np.float32)


class Planted(layers.Layer):
    def __init__(self, function: Callable[[Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def model_with(function: Callable[[Any], Any], **options: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    x = layers.Dense(5, name="before")(inputs)
    x = Planted(function, name="planted")(x)
    model = keras.Model(inputs, layers.Dense(2, name="after")(x))
    model.compile(optimizer="adam", loss="mse", debug="nan", **options)
    return model


PLANTED = {
    "log": (lambda x: ops.log(-ops.abs(x) - 1.0), "log"),
    "division": (lambda x: x / (x * 0.0), "divide"),
    "exp": (lambda x: ops.exp(100.0 + ops.abs(x)), "exp"),
    "square root": (lambda x: ops.sqrt(-1.0 - ops.abs(x)), "sqrt"),
    "vanishing": (lambda x: 1.0 / ops.exp(100.0 + ops.abs(x)), "exp"),
}


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("method", ["fit", "train_on_batch", "evaluate", "predict", "predict_on_batch"])
def test_what_an_op_makes_is_found_at_its_layer(kind: str, method: str) -> None:
    function, op = PLANTED[kind]
    model = model_with(function)
    before = [variable.numpy().copy() for variable in model.variables]
    calls = {
        "fit": lambda: model.fit(X, Y, batch_size=4, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X, Y),
        "evaluate": lambda: model.evaluate(X, Y, verbose=0),
        "predict": lambda: model.predict(X, verbose=0),
        "predict_on_batch": lambda: model.predict_on_batch(X),
    }
    with pytest.raises(NonFiniteError) as caught:
        calls[method]()
    error = caught.value
    assert (error.op, error.layer, error.given) == (op, "planted", "")
    assert "test_debug_nan.py:" in error.source
    assert sum(numbers.nans + numbers.infinities for numbers in error.inputs) == 0
    assert sum(numbers.nans + numbers.infinities for numbers in error.results) > 0
    assert f"op '{op}' of layer 'planted'" in str(error)
    assert "Fix: keep its" in str(error)
    for one, other in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(one, other.numpy())


def test_what_a_loss_makes_is_found_at_the_call_that_trains() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", debug="nan")
    with pytest.raises(NonFiniteError) as caught:
        model.train_on_batch(np.ones((4, 3), np.float32), np.full((4, 1), 1e30, np.float32))
    line = test_what_a_loss_makes_is_found_at_the_call_that_trains.__code__.co_firstlineno + 4
    assert caught.value.source.endswith(f"test_debug_nan.py:{line}")


def test_ranges_are_those_of_the_arrays() -> None:
    model = model_with(lambda x: ops.log(x))
    with pytest.raises(NonFiniteError) as caught:
        model.predict(X, verbose=0)
    read = X.astype(np.float64) @ model.layers[1].kernel.numpy() + model.layers[1].bias.numpy()
    (numbers,) = caught.value.inputs
    assert numbers.least == pytest.approx(read.min(), rel=1e-5)
    assert numbers.most == pytest.approx(read.max(), rel=1e-5)
    assert caught.value.results[0].nans == (read < 0).sum()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_comes_with_the_data(value: float) -> None:
    model = model_with(lambda x: x)
    bad = X.copy()
    bad[3, 2] = value
    with pytest.raises(NonFiniteError) as caught:
        model.train_on_batch(bad, Y)
    error = caught.value
    assert (error.given, error.layer, error.op) == ("input 'x'", "before", "matmul")
    assert error.inputs[0].nans + error.inputs[0].infinities == 1
    targets = Y.copy()
    targets[0, 0] = value
    with pytest.raises(NonFiniteError, match="input 'y' holds NaN or infinity"):
        model.train_on_batch(X, targets)


def test_what_is_in_a_weight() -> None:
    model = model_with(lambda x: x)
    model.layers[3].kernel.assign(np.full((5, 2), np.nan, np.float32))
    with pytest.raises(NonFiniteError) as caught:
        model.predict(X, verbose=0)
    assert caught.value.given.startswith("variable")
    assert (caught.value.layer, caught.value.op) == ("after", "matmul")


def test_what_only_the_gradient_makes() -> None:
    model = model_with(lambda x: ops.sqrt(ops.relu(x)))
    assert np.isfinite(model.evaluate(X, Y, verbose=0))
    with pytest.raises(NonFiniteError) as caught:
        model.train_on_batch(X, Y)
    assert caught.value.layer == "planted"


def test_what_comes_in_the_middle_of_training() -> None:
    """The steps before it have taken effect, that one has not."""
    model, plain = model_with(lambda x: x), model_with(lambda x: x)
    plain.compile(optimizer="adam", loss="mse", jit=False)
    bad = np.concatenate([X, X])
    bad[9] = np.nan
    with pytest.raises(NonFiniteError):
        model.fit(bad, np.concatenate([Y, Y]), batch_size=8, shuffle=False, verbose=0)
    plain.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_inside_a_loop() -> None:
    inputs = keras.Input((6, 4))
    state = layers.SimpleRNN(3, activation=lambda x: ops.log(ops.abs(x) * 0.0 - 1.0), name="memory")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(state))
    model.compile(loss="mse", debug="nan")
    with pytest.raises(NonFiniteError) as caught:
        model.predict(np.ones((2, 6, 4), np.float32), verbose=0)
    assert caught.value.op == "log"
    assert caught.value.layer.startswith("memory")


def test_what_is_meant_to_be_infinite_passes() -> None:
    def masked(x: Any) -> Any:
        scores = ops.where(x > 0, x, -np.inf)
        return ops.exp(scores) + ops.softmax(ops.where(x > -100.0, x, -np.inf))

    model = model_with(masked)
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


def test_healthy_training_is_that_of_the_interpreter() -> None:
    checked, plain = model_with(ops.tanh), model_with(ops.tanh)
    plain.compile(optimizer="adam", loss="mse", jit=False)
    for model in (checked, plain):
        model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    for one, other in zip(plain.get_weights(), checked.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not checked.jit_compile


def test_other_values_are_refused() -> None:
    with pytest.raises(ValueError, match="`debug` must be None or 'nan'"):
        model_with(ops.tanh).compile(loss="mse", debug="inf")
