"""Random numbers: seeds, states, distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compiler.interpret import interpret
from graphcore import ops, random, utils
from graphcore.layers import Input, Layer
from graphcore.models import Model
from graphcore.tracing import Trace

N = 20_000


def test_a_generator_moves_on_and_an_integer_stays():
    generator = random.SeedGenerator(7)
    assert generator.state.numpy().tolist() == [7, 0]
    first, second = random.uniform((4,), seed=generator), random.uniform((4,), seed=generator)
    assert generator.state.numpy().tolist() == [7, 2]
    assert (first != second).any()
    np.testing.assert_array_equal(random.uniform((4,), seed=random.SeedGenerator(7)), first)
    np.testing.assert_array_equal(random.normal((4,), seed=3), random.normal((4,), seed=3))
    assert random.SeedGenerator.from_config(generator.get_config()).state.numpy().tolist() == [7, 0]


def test_one_seed_fixes_everything():
    def draw():
        import random as python_random

        return [
            random.normal((2,)).tolist(), random.SeedGenerator().state.numpy().tolist(), python_random.random(),
            float(np.random.rand()),
        ]  # fmt: skip

    utils.set_random_seed(11)
    first = draw()
    utils.set_random_seed(11)
    assert draw() == first
    utils.set_random_seed(12)
    assert draw() != first
    for wrong in (-1, 2**32, 1.5, "a"):
        with pytest.raises(ValueError, match="integer in"):
            utils.set_random_seed(wrong)


def test_distributions():
    uniform = random.uniform((N,), -1, 3, seed=1)
    assert uniform.dtype == np.float32
    assert -1 <= uniform.min() < uniform.max() < 3
    assert abs(uniform.mean() - 1) < 5 * (4 / math.sqrt(12)) / math.sqrt(N)
    normal = random.normal((N,), 2, 3, seed=2)
    assert abs(normal.mean() - 2) < 5 * 3 / math.sqrt(N)
    assert abs(normal.std() - 3) < 0.1
    cut = random.truncated_normal((N,), 0, 1, seed=3)
    assert np.abs(cut).max() <= 2
    assert abs(cut.std() - 0.8796) < 0.02
    integers = random.randint((N,), -3, 4, seed=4)
    assert integers.dtype == np.int32
    counts = np.bincount(integers + 3, minlength=7)
    assert np.abs(counts - N / 7).max() < 5 * math.sqrt(N / 7)
    classes = random.categorical(np.log([[0.2, 0.5, 0.3]]).astype(np.float32), N, seed=5)
    assert classes.shape == (1, N)
    np.testing.assert_allclose(np.bincount(classes[0], minlength=3) / N, [0.2, 0.5, 0.3], atol=0.02)


def test_truncated_normal_is_the_inverse_of_its_distribution():
    """The k-th smallest of many draws lies where the truncated distribution function is k / N."""
    draws = np.sort(random.truncated_normal((N,), seed=9).astype(np.float64))
    share = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in draws])
    low, high = 0.5 * (1 + math.erf(-math.sqrt(2))), 0.5 * (1 + math.erf(math.sqrt(2)))
    assert np.abs((share - low) / (high - low) - (np.arange(N) + 0.5) / N).max() < 1.63 / math.sqrt(N)


def test_dropout():
    x = np.ones((100, 200), np.float32)
    dropped = random.dropout(x, 0.25, seed=1)
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs((dropped == 0).mean() - 0.25) < 0.02
    rows = random.dropout(x, 0.5, noise_shape=(None, 1), seed=1)
    assert (rows == rows[:, :1]).all()
    assert 0.3 < (rows[:, 0] == 0).mean() < 0.7
    assert (random.dropout(x, 1.0, seed=1) == 0).all()
    np.testing.assert_array_equal(random.dropout(x, 0.0, seed=1), x)
    with pytest.raises(ValueError, match=r"rate=1\.5"):
        random.dropout(x, 1.5)


def test_shuffling_is_a_permutation():
    x = np.arange(50).reshape(25, 2)
    shuffled = random.shuffle(x, seed=3)
    assert not (shuffled == x).all()
    assert sorted(map(tuple, shuffled)) == sorted(map(tuple, x))
    with Trace("t") as trace:
        traced = random.shuffle(trace.input("x", x.shape, "int64"), seed=3)
    graph, _ = trace.finish({"y": traced})
    (got,), _ = interpret(graph, [x])
    np.testing.assert_array_equal(got, shuffled)


class Drop(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = random.SeedGenerator(1)

    def call(self, inputs, training=None):
        return random.dropout(inputs, 0.5, seed=self.generator) if training else inputs


def test_a_program_advances_the_state_and_repeats_what_calls_at_once_give():
    layer = Drop()
    x = np.ones((4, 8), np.float32)
    at_once = [layer(x, training=True), layer(x, training=True)]
    assert (at_once[0] != at_once[1]).any()
    again = Drop()
    with Trace("t", training=True) as trace:
        y = again(trace.input("x", (None, 8)))
    graph, variables = trace.finish({"y": y})
    state = again.generator.state.array.copy()
    for expected in at_once:
        (got,), updates = interpret(graph, [x], [state])
        np.testing.assert_array_equal(got, expected)
        state = updates[trace.name_of(variables[0])]
    assert state.tolist() == [1, 2]


def test_describing_a_model_draws_nothing():
    layer = Drop()
    x = Input((8,))
    Model(x, layer(x, training=True))
    assert layer.generator.state.numpy().tolist() == [1, 0]
    generator = random.SeedGenerator(2)
    noisy = Model(x, x + random.normal(ops.shape(x), seed=generator))
    assert generator.state.numpy().tolist() == [2, 0]
    first, second = noisy(np.zeros((3, 8))), noisy(np.zeros((3, 8)))
    assert (first != second).any()


def test_wrong_seeds_and_types():
    with pytest.raises(ValueError, match="seed='a'"):
        random.uniform((2,), seed="a")
    with pytest.raises(ValueError, match="non-negative integer"):
        random.SeedGenerator(-1)
    with pytest.raises(ValueError, match="floating point"):
        random.normal((2,), dtype="int32")
    with pytest.raises(ValueError, match="minval < maxval"):
        random.randint((2,), 3, 3)
