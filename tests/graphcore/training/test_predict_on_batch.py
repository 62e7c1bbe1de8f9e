"""predict_on_batch: the short way for arrays like earlier ones gives what `predict` gives, and checks as much."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import graphcore as keras
from graphcore import layers


@pytest.fixture
def model() -> keras.Model:
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, activation="tanh")(inputs)
    return keras.Model(inputs, layers.Dense(3)(hidden))


@pytest.fixture
def float_type() -> Iterator[None]:
    yield
    keras.config.set_floatx("float32")


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 6)).astype(np.float32)


def expected(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The predictions in float64."""
    (w, b), (v, c) = (layer.get_weights() for layer in model.layers[1:])
    return np.tanh(x.astype(np.float64) @ w + b) @ v + c


def test_repeated_calls_of_changing_sizes(model: keras.Model) -> None:
    kept = []
    for seed, count in enumerate((1, 1, 4, 1, 4, 4, 2, 1)):
        x = rows(count, seed)
        kept.append((model.predict_on_batch(x), expected(model, x)))
    for outputs, right in kept:  # later calls do not change what earlier ones returned
        np.testing.assert_allclose(outputs, right, rtol=1e-5, atol=1e-6)


def test_large_and_several_outputs_are_the_caller_s_own(model: keras.Model) -> None:
    inputs = keras.Input((6,))
    wide = keras.Model(inputs, layers.Dense(3000)(inputs))
    two = keras.Model(inputs, [layers.Dense(3)(inputs), layers.Dense(2)(inputs)])
    for _ in range(3):
        first, second = (wide.predict_on_batch(rows(4, seed)) for seed in (1, 2))
        assert not np.shares_memory(first, second)
        np.testing.assert_array_equal(first, wide.predict_on_batch(rows(4, 1)))
        left, right = two.predict_on_batch(rows(2, 1)), two.predict_on_batch(rows(2, 2))
        for one, other, shape in zip(left, right, ((2, 3), (2, 2)), strict=True):
            assert one.shape == shape
            assert not np.array_equal(one, other)


def test_other_types_and_layouts_after_a_remembered_shape(model: keras.Model) -> None:
    x = rows(4)
    for _ in range(2):
        model.predict_on_batch(x)
    right = expected(model, x)
    wide = np.zeros((4, 12), np.float32)
    wide[:, ::2] = x
    for other in (x.astype(np.float64), np.asfortranarray(x), wide[:, ::2], x.astype(">f4"), [x], (x,)):
        np.testing.assert_allclose(model.predict_on_batch(other), right, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="samples"):
        model.predict_on_batch(np.zeros((0, 6), np.float32))
    with pytest.raises(ValueError, match=r"\(4, 5\)|expected"):
        model.predict_on_batch(np.zeros((4, 5), np.float32))


def test_weights_and_compile_take_effect_at_once(model: keras.Model) -> None:
    x = rows(2)
    model.predict_on_batch(x)
    model.set_weights([weight * 2 for weight in model.get_weights()])
    np.testing.assert_allclose(model.predict_on_batch(x), expected(model, x), rtol=1e-5, atol=1e-6)
    model.compile("sgd", "mse")
    model.fit(rows(8), np.ones((8, 3), np.float32), verbose=0)
    np.testing.assert_allclose(model.predict_on_batch(x), expected(model, x), rtol=1e-5, atol=1e-6)
    assert model.lower("predict").step is model.training_session.latest["predict"]


def test_floats_for_an_integer_input_are_looked_at_each_time() -> None:
    inputs = keras.Input((2,), dtype="int32")
    model = keras.Model(inputs, layers.Embedding(4, 2)(inputs))
    for _ in range(2):
        model.predict_on_batch(np.float32([[1, 2]]))
        with pytest.raises(ValueError, match="whole numbers"):
            model.predict_on_batch(np.float32([[1, 2.5]]))


def test_a_change_of_floatx_is_noticed(model: keras.Model, float_type: None) -> None:
    x = rows(2)
    model.predict_on_batch(x)
    program = model.lower("predict").step
    keras.config.set_floatx("float64")
    model.predict_on_batch(x)
    assert model.lower("predict").step is not program


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: keras.Model(x, [y]),
        lambda x, y: keras.Model(x, {"a": y}),
        lambda x, y: keras.Model([x], y),
        lambda x, y: keras.Model({"x": x}, y),
    ],
    ids=["list of outputs", "dict of outputs", "list of inputs", "dict of inputs"],
)
def test_structures_stay(make: Callable[..., keras.Model]) -> None:
    inputs = keras.Input((6,), name="x")
    model = make(inputs, layers.Dense(3)(inputs))
    x = rows(2)
    first, again = model.predict_on_batch(x), model.predict_on_batch(x)
    assert type(first) is type(again)
    flat = [first] if isinstance(first, np.ndarray) else list(first.values() if isinstance(first, dict) else first)
    (w, b) = model.layers[-1].get_weights()
    np.testing.assert_allclose(flat[0], x @ w + b, rtol=1e-5, atol=1e-6)


def test_more_shapes_than_the_executable_remembers(model: keras.Model) -> None:
    for count in (*range(1, 12), 1, 1, 3, 3):
        x = rows(count, count)
        np.testing.assert_allclose(model.predict_on_batch(x), expected(model, x), rtol=1e-5, atol=1e-6)


def test_a_released_executable_and_other_threads_are_noticed(model: keras.Model) -> None:
    before = keras.config.get_num_threads()
    x = rows(64)
    right = expected(model, x)
    try:
        for threads in (2, 1, 3, 2):
            keras.config.set_num_threads(threads)
            for _ in range(8):
                np.testing.assert_allclose(model.predict_on_batch(x), right, rtol=1e-5, atol=1e-6)
        model.lower("predict").compiled.executable.release()
        for _ in range(2):
            np.testing.assert_allclose(model.predict_on_batch(x), right, rtol=1e-5, atol=1e-6)
    finally:
        keras.config.set_num_threads(before)
