"""Loops: `scan`, `associative_scan`, `fori_loop`, `while_loop`, at once and in compiled models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphcore import Input, Model, layers, ops

X = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_sums_up(reverse: bool) -> None:
    final, sums = ops.scan(lambda c, x: (c + x, c + x), np.zeros((2, 3), np.float32), X, reverse=reverse)
    order = X[::-1] if reverse else X
    expected = np.cumsum(order, 0)[::-1] if reverse else np.cumsum(order, 0)
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(final, X.sum(0), rtol=1e-5, atol=1e-6)


def test_the_example_of_keras() -> None:
    carry, result = ops.scan(lambda c, x: (c + x, c + x), ops.array(0), ops.array([1, 2, 3, 4, 5]))
    assert int(carry) == 15
    np.testing.assert_array_equal(result, [1, 3, 6, 10, 15])


def test_scan_over_structures() -> None:
    def step(carry: Any, x: Any) -> Any:
        low, total = carry["low"], carry["total"]
        return {"low": ops.minimum(low, x["a"]), "total": total + x["b"]}, (low, None)

    init = {"low": np.float32(np.inf), "total": np.zeros(3, np.float32)}
    final, (lows, nothing) = ops.scan(step, init, {"a": X[:, 0, 0], "b": X[:, 0]})
    np.testing.assert_array_equal(final["low"], X[:, 0, 0].min())
    np.testing.assert_allclose(final["total"], X[:, 0].sum(0), rtol=1e-5)
    np.testing.assert_array_equal(lows[1:], np.minimum.accumulate(X[:, 0, 0])[:-1])
    assert nothing is None


def test_scan_without_sequences() -> None:
    final, powers = ops.scan(lambda c, _: (c * 2, c), np.float32(1), length=6)
    assert float(final) == 64
    np.testing.assert_array_equal(powers, 2.0 ** np.arange(6))


class Discounted(layers.Layer):
    """Returns of rewards, with a weight as the discount."""

    def build(self, input_shape: Any) -> None:
        self.discount = self.add_weight(shape=(), initializer=lambda shape, dtype: np.float32(0.5), name="discount")

    def call(self, rewards: Any) -> Any:
        first = ops.zeros((ops.shape(rewards)[0],))
        step = lambda after, reward: (reward + self.discount * after,) * 2  # noqa: E731
        _, returns = ops.scan(step, first, ops.transpose(rewards), reverse=True)
        return ops.transpose(returns)


@pytest.mark.parametrize("jit", [True, False])
def test_scan_in_a_model(jit: bool) -> None:
    inputs = Input((None,))
    layer = Discounted()
    model = Model(inputs, layer(inputs))
    model.compile("sgd", "mse", jit=jit)
    for length in (1, 4, 9):
        rewards = np.random.default_rng(length).normal(size=(3, length)).astype(np.float32)
        discount = float(layer.discount.numpy())
        expected = np.zeros((3, length + 1))
        slope = np.zeros((3, length + 1))  # the derivative of the returns with respect to the discount
        for t in reversed(range(length)):
            expected[:, t] = rewards[:, t] + discount * expected[:, t + 1]
            slope[:, t] = expected[:, t + 1] + discount * slope[:, t + 1]
        np.testing.assert_allclose(model.predict(rewards, verbose=0), expected[:, :-1], rtol=1e-5, atol=1e-6)
        model.train_on_batch(rewards, np.zeros_like(rewards))
        gradient = (2 * expected * slope)[:, :-1].mean()
        np.testing.assert_allclose(layer.discount.numpy(), discount - 0.01 * gradient, rtol=1e-5)


def test_scan_recorded_on_symbolic_tensors() -> None:
    inputs = Input((3,))
    carry, sums = ops.scan(lambda c, x: (c + x, c * x), ops.zeros((3,)), inputs)
    model = Model(inputs, [carry, sums])
    x = X[:, 0]
    final, products = model.predict(x, batch_size=5, verbose=0)
    np.testing.assert_allclose(final, x.sum(0), rtol=1e-5)
    before = np.concatenate([np.zeros((1, 3)), np.cumsum(x, 0)[:-1]])
    np.testing.assert_allclose(products, before * x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(axis: int, reverse: bool) -> None:
    found = ops.associative_scan(lambda a, b: a + b, X, reverse=reverse, axis=axis)
    flipped = np.flip(X, axis) if reverse else X
    expected = np.cumsum(flipped, axis)
    np.testing.assert_allclose(found, np.flip(expected, axis) if reverse else expected, rtol=1e-5, atol=1e-6)


def test_associative_scan_of_several() -> None:
    """x[t] = a[t] x[t - 1] + b[t], joined pair by pair."""
    a, b = X[:, 0], X[:, 1]
    join = lambda p, q: (p[0] * q[0], q[0] * p[1] + q[1])  # noqa: E731
    _, found = ops.associative_scan(join, (a, b))
    value = np.zeros(3)
    for t in range(5):
        value = a[t] * value + b[t]
        np.testing.assert_allclose(found[t], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("jit", [True, False])
def test_accumulations_of_any_length(jit: bool) -> None:
    class Sums(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.cumsum(x, axis=-2) + ops.cumprod(ops.sigmoid(x), axis=1)

    inputs = Input((None, 2))
    model = Model(inputs, layers.Dense(2)(Sums()(inputs)))
    model.compile("sgd", "mse", jit=jit)
    for length in (1, 2, 30):
        x = np.random.default_rng(length).normal(size=(3, length, 2)).astype(np.float32)
        summed = np.cumsum(x, 1) + np.cumprod(1 / (1 + np.exp(-x)), 1)
        kernel, bias = model.get_weights()
        np.testing.assert_allclose(model.predict(x, verbose=0), summed @ kernel + bias, rtol=1e-4, atol=1e-5)
        gradient = np.einsum("bti,btj->ij", summed, 2 * (summed @ kernel + bias)) / summed.size
        model.train_on_batch(x, np.zeros_like(x))
        np.testing.assert_allclose(model.get_weights()[0], kernel - 0.01 * gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("jit", [True, False])
def test_associative_scan_of_any_length(jit: bool) -> None:
    class Sums(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.associative_scan(ops.add, x, axis=1)

    inputs = Input((None, 2))
    model = Model(inputs, Sums()(inputs))
    model.compile(jit=jit)
    for length in (1, 2, 30):
        x = np.random.default_rng(length).normal(size=(3, length, 2)).astype(np.float32)
        np.testing.assert_allclose(model.predict(x, verbose=0), np.cumsum(x, 1), rtol=1e-5, atol=1e-5)


def test_fori_loop() -> None:
    assert int(ops.fori_loop(0, 10, lambda i, s: s + i, 0)) == 45
    assert int(ops.fori_loop(3, 3, lambda i, s: s + i, 7)) == 7
    inputs = Input((None,))

    class Steps(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.fori_loop(1, ops.shape(x)[1], lambda i, s: s + ops.cast(i, "float32"), ops.zeros_like(x[:, 0]))

    model = Model(inputs, Steps()(inputs))
    for length in (1, 2, 7):
        np.testing.assert_array_equal(
            model.predict(np.zeros((2, length), np.float32), verbose=0), [sum(range(1, length))] * 2
        )


def test_while_loop() -> None:
    assert int(ops.while_loop(lambda i: i < 10, lambda i: i + 1, 0, maximum_iterations=20)) == 10
    assert int(ops.while_loop(lambda i: i < 10, lambda i: i + 1, 0, maximum_iterations=3)) == 3
    x, y = ops.while_loop(lambda x, y: x < 10, lambda x, y: (x + 1, y + 2), (0, 1), maximum_iterations=99)
    assert (int(x), int(y)) == (10, 21)


class Counted(layers.Layer):
    """Counts the calls of a loop's condition and of its body."""

    def build(self, input_shape: Any) -> None:
        self.conditions, self.bodies = (
            self.add_weight(shape=(), initializer="zeros", trainable=False, name=name) for name in ("first", "second")
        )

    def call(self, x: Any) -> Any:
        def condition(i: Any) -> Any:
            self.conditions.assign_add(1.0)
            return i < ops.max(x)

        def body(i: Any) -> Any:
            self.bodies.assign_add(1.0)
            return i + 1.0

        return x + ops.while_loop(condition, body, 0.0, maximum_iterations=7)


@pytest.mark.parametrize("jit", [True, False])
def test_variables_that_a_while_loop_assigns(jit: bool) -> None:
    """The condition is asked once more than the body is run, unless that was done as often as it may be."""
    inputs = Input((1,))
    layer = Counted()
    model = Model(inputs, layer(inputs))
    model.compile(jit=jit)
    for bound, bodies, conditions in ((3, 3, 4), (0, 0, 1), (9, 7, 7)):
        layer.set_weights([np.zeros(()), np.zeros(())])
        found = model.predict(np.full((2, 1), bound, np.float32), verbose=0)
        np.testing.assert_array_equal(found, np.full((2, 1), bound + bodies))
        assert (float(layer.conditions.numpy()), float(layer.bodies.numpy())) == (conditions, bodies)


def test_a_negative_number_of_steps_is_none() -> None:
    assert int(ops.fori_loop(5, 3, lambda i, s: s + i, 7)) == 7
    assert int(ops.while_loop(lambda i: i < 10, lambda i: i + 1, 0, maximum_iterations=-2)) == 0

    class Steps(layers.Layer):
        def call(self, x: Any) -> Any:
            first = ops.zeros_like(x[:, 0])
            count = ops.shape(x)[1]
            many = ops.fori_loop(3, count, lambda i, s: s + 1, first)
            return many, ops.while_loop(lambda s: ops.all(s < 9), lambda s: s + 1, first, maximum_iterations=count - 3)

    inputs = Input((None,))
    model = Model(inputs, Steps()(inputs))
    for length in (1, 2, 3, 6):
        for found in model.predict(np.zeros((2, length), np.float32), verbose=0):
            np.testing.assert_array_equal(found, [max(length - 3, 0)] * 2)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_over_nothing(reverse: bool) -> None:
    final, products = ops.scan(lambda c, x: (c + x, c * x), X[0, 0], X[:0, 0], reverse=reverse)
    np.testing.assert_array_equal(final, X[0, 0])
    assert products.shape == (0, 3)


@pytest.mark.parametrize("call", [
    lambda: ops.scan(lambda c, x: (c, x), 0.0),
    lambda: ops.scan(lambda c, x: (c, x), 0.0, X, length=4),
    lambda: ops.scan(lambda c, x: (x, x), 0.0, X),
    lambda: ops.while_loop(lambda i: i < 3, lambda i: i + 1, 0),
])  # fmt: skip
def test_errors(call: Any) -> None:
    with pytest.raises(ValueError, match=r"number of steps|shapes and types"):
        call()


def test_bounds_are_integers() -> None:
    with pytest.raises(TypeError, match="integer"):
        ops.while_loop(lambda i: i < 9, lambda i: i + 1, 0, maximum_iterations=2.5)


def test_bounds_are_no_tensors() -> None:
    with pytest.raises(TypeError, match="while_loop"):
        ops.fori_loop(0, np.ones(2), lambda i, s: s, 0)
