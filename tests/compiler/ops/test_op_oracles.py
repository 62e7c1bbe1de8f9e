"""Single ops against values computed in another way: plain loops, published vectors, hand-worked cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from compiler.ops.arithmetic import FloorDivide, Maximum, Minimum, Power, Remainder
from compiler.ops.average_pooling import AveragePool
from compiler.ops.convolution import Convolution
from compiler.ops.gather import ScatterAdd, Take
from compiler.ops.math import Erf, Relu, Sigmoid
from compiler.ops.max_pooling import MaxPool, MaxPoolGradient
from compiler.ops.normalization import BatchNormalization
from compiler.ops.random import Dropout, RandomBits, RandomNormal, RandomUniform, philox
from compiler.ops.reduce import ReduceMax, ReduceProd
from compiler.ops.sources import ArrayAttribute, Constant, Full

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_by_its_definition(groups: int) -> None:
    x, kernel = RNG.normal(size=(2, 7, 6, 4)), RNG.normal(size=(3, 2, 4 // groups, 6))
    strides, padding, dilation = (2, 1), ((1, 2), (0, 1)), (1, 2)
    op = Convolution(strides, padding, dilation, groups)
    (actual,) = op.reference(x, kernel)
    expected = np.zeros_like(actual)
    per, filters = 4 // groups, 6 // groups
    for n, i, j, f in np.ndindex(*expected.shape):
        for a, c, channel in np.ndindex(3, 2, per):
            row, column = i * 2 + a - 1, j + 2 * c
            if 0 <= row < 7 and 0 <= column < 6:
                expected[n, i, j, f] += x[n, row, column, f // filters * per + channel] * kernel[a, c, channel, f]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_average_pool_divides_by_the_real_elements() -> None:
    x = np.arange(1.0, 6.0).reshape(1, 5, 1)
    (actual,) = AveragePool((3,), (2,), ((1, 1),)).reference(x)
    np.testing.assert_allclose(actual.ravel(), [(1 + 2) / 2, (2 + 3 + 4) / 3, (4 + 5) / 2])


def test_max_pool_ignores_padding_of_negative_inputs() -> None:
    (actual,) = MaxPool((2,), (2,), ((1, 1),)).reference(np.full((1, 2, 1), -5.0))
    np.testing.assert_array_equal(actual.ravel(), [-5.0, -5.0])


def test_max_pool_gradient_goes_to_the_first_of_equals() -> None:
    x = np.array([[1.0, 1.0], [1.0, 0.0]]).reshape(1, 2, 2, 1)
    op = MaxPoolGradient((2, 2), (1, 1), ((0, 0), (0, 0)))
    (actual,) = op.reference(x, np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), 3.0))
    np.testing.assert_array_equal(actual[0, :, :, 0], [[3.0, 0.0], [0.0, 0.0]])


def test_equal_winners_share_the_gradient(gradients) -> None:
    x = np.array([[2.0, 5.0, 5.0, 1.0]])
    (of_x,) = gradients(ReduceMax((1,)), (x,), [np.array([6.0])])
    np.testing.assert_array_equal(of_x, [[0.0, 3.0, 3.0, 0.0]])
    for op in (Maximum(), Minimum()):
        halves = gradients(op, (np.array([4.0]), np.array([4.0])), [np.array([1.0])])
        np.testing.assert_array_equal(halves, [[0.5], [0.5]])


def test_relu_at_zero_has_no_slope_and_keeps_nan(gradients) -> None:
    x = np.array([-1.0, 0.0, 2.0, np.nan])
    np.testing.assert_array_equal(Relu().reference(x)[0], [0.0, 0.0, 2.0, np.nan])
    (of_x,) = gradients(Relu(), (x,), [np.ones(4)])
    np.testing.assert_array_equal(of_x, [0.0, 0.0, 1.0, 0.0])


def test_power_has_finite_gradients_at_zero(gradients) -> None:
    x, y = np.array([0.0, 0.0, 3.0]), np.array([0.0, 2.0, 0.0])
    of_x, of_y = gradients(Power(), (x, y), [np.ones(3)])
    np.testing.assert_array_equal(of_x, [0.0, 0.0, 0.0])
    np.testing.assert_allclose(of_y, [0.0, 0.0, math.log(3.0)])


def test_product_gradient_with_zeros_is_the_product_of_the_others(gradients) -> None:
    x = np.array([[2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [0.0, 3.0, 0.0]])
    (actual,) = gradients(ReduceProd((1,)), (x,), [np.ones(3)])
    np.testing.assert_allclose(actual, [[12.0, 8.0, 6.0], [12.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


def test_division_rounds_down_as_python_does() -> None:
    x, y = np.array([7, -7, 7, -7]), np.array([3, 3, -3, -3])
    pairs = list(zip(x.tolist(), y.tolist(), strict=True))
    assert FloorDivide().reference(x, y)[0].tolist() == [a // c for a, c in pairs]
    assert Remainder().reference(x, y)[0].tolist() == [a % c for a, c in pairs]


def test_sigmoid_and_erf_far_out() -> None:
    x = np.array([-1000.0, -40.0, 0.0, 40.0, 1000.0, np.nan, -np.inf])
    expected = [0.0, math.exp(-40), 0.5, 1.0, 1.0, math.nan, 0.0]
    np.testing.assert_allclose(Sigmoid().reference(x)[0], expected, rtol=1e-14)
    np.testing.assert_allclose(Erf().reference(np.array([0.5, 6.0]))[0], [0.5204998778130465, 1.0], rtol=1e-15)


def test_take_fills_what_is_outside() -> None:
    x = np.array([10.0, 20.0, 30.0])
    indices = np.array([0, -1, -3, 3, -4])
    np.testing.assert_array_equal(Take(0).reference(x, indices)[0], [10.0, 30.0, 10.0, np.nan, np.nan])
    assert Take(0).reference(x.astype("int8"), indices)[0].tolist() == [10, 30, 10, -128, -128]
    assert Take(0).reference(x.astype("uint8"), indices)[0].tolist() == [10, 30, 10, 255, 255]
    assert Take(0, 0.5).reference(x, indices)[0].tolist() == [10.0, 30.0, 10.0, 0.5, 0.5]


def test_scatter_add_drops_what_is_outside() -> None:
    updates = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    (actual,) = ScatterAdd(0, 2).reference(updates, np.array([1, -1, 2]))
    np.testing.assert_array_equal(actual, [[0.0, 0.0], [4.0, 6.0]])


def test_batch_normalization_gradients_of_the_statistics(gradients) -> None:
    x = RNG.normal(size=(6, 2))
    ones, zeros = np.ones(2), np.zeros(2)
    of_mean, of_gamma, of_beta = gradients(BatchNormalization(1), (x, ones, zeros), [None, np.array([6.0, 12.0]), None])
    np.testing.assert_allclose(of_mean, np.tile([1.0, 2.0], (6, 1)))
    assert of_gamma is None
    assert of_beta is None
    of_variance, *_ = gradients(BatchNormalization(1), (x, ones, zeros), [None, None, np.array([3.0, 3.0])])
    np.testing.assert_allclose(of_variance, x - x.mean(0))


# Published with the paper: Random123, tests/kat_vectors, philox4x32 with 10 rounds.
PHILOX_VECTORS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), PHILOX_VECTORS)
def test_philox_known_answers(counter: list[int], key: list[int], expected: list[int]) -> None:
    words = philox([np.array([c], "uint64") for c in counter], [np.array([k], "uint64") for k in key])
    assert [int(word[0]) for word in words] == expected


def test_random_bits_are_blocks_of_four_words() -> None:
    (bits,) = RandomBits((5, 13)).reference(np.array([0, 0], "uint32"))
    assert bits.ravel()[:32:8].tolist() == PHILOX_VECTORS[0][2], "words of a block lie eight apart"
    ninth = philox([np.array([c], "uint64") for c in (8, 0, 0, 0)], [np.zeros(1, "uint64")] * 2)
    assert bits.ravel()[32:64:8].tolist() == [int(word[0]) for word in ninth], "eight blocks lie side by side"
    (other,) = RandomBits((65,)).reference(np.array([0, 0], "uint32"))
    np.testing.assert_array_equal(bits.ravel(), other)
    draws = [RandomBits((64,)).reference(np.array(s, "uint32"))[0] for s in ([0, 0], [0, 1], [1, 0])]
    for one, two in itertools.combinations(draws, 2):
        assert (one != two).mean() > 0.99


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_is_uniform_and_below_high(dtype: str, run) -> None:
    state = np.array([11, 4], "uint32")
    op = RandomUniform((20000,), dtype, 1.0, 2.0)
    x = run(lambda b, s: op.decompose(b, s)[0], state)
    np.testing.assert_array_equal(x, op.reference(state)[0])
    assert x.dtype == dtype
    assert x.min() >= 1
    assert x.max() < 2
    wide = x.astype("float64") - 1
    # Deviations of mean, variance and largest gap of the distribution function, at about five sigma.
    assert abs(wide.mean() - 0.5) < 5 / math.sqrt(12 * 20000)
    assert abs(wide.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / 20000)
    gap = np.abs(np.sort(wide) - np.arange(1, 20001) / 20000).max()
    assert gap < 2.2 / math.sqrt(20000)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_is_normal(dtype: str, run) -> None:
    state = np.array([5, 2], "uint32")
    op = RandomNormal((20000,), dtype)
    x = run(lambda b, s: op.decompose(b, s)[0], state)
    np.testing.assert_allclose(x, op.reference(state)[0], rtol=1e-4, atol=1e-6)
    assert abs(x.mean()) < 5 / math.sqrt(20000)
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / 20000)
    assert abs((x.astype("float64") ** 4).mean() - 3) < 5 * math.sqrt(96 / 20000)
    assert abs(np.mean(np.abs(x) < 1) - 0.6826894921) < 5 * math.sqrt(0.6827 * 0.3173 / 20000)


def test_dropout_keeps_the_mean_and_whole_channels() -> None:
    x, state = np.ones((50, 40, 10)), np.array([1, 1], "uint32")
    (y,) = Dropout(0.25).reference(x, state)
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    assert abs((y == 0).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / y.size)
    (y,) = Dropout(0.5, (50, 1, 10)).reference(x, state)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert 0.3 < (y == 0).mean() < 0.7


def test_attributes_equal_by_content() -> None:
    array = np.array([1.0, 2.0])
    one, two = Constant(ArrayAttribute(array)), Constant(ArrayAttribute(array.copy()))
    assert one == two
    assert hash(one) == hash(two)
    assert one != Constant(ArrayAttribute(array.astype("float32")))
    array[0] = 9.0
    assert one == two, "a constant keeps its own copy"
    with pytest.raises(ValueError, match="read-only"):
        one.array.array[0] = 3.0
    assert Full((2,), math.nan) == Full((2,), float("nan"))
    assert Full((), 1, "float32") == Full((), 1.0, "float32")
    assert type(Full((), True, "int32").value) is int
