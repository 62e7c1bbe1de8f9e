"""Keras's padding and size rules for convolution, its transpose, and pooling; gathering."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from compiler import functions as f
from compiler.functions.windows import resolve_padding
from compiler.ir import Builder
from compiler.types import TensorType
from runtime.dimensions import evaluate, symbol

RNG = np.random.default_rng(23)
H = symbol("h")


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_for_numbers_and_symbols(stride: int, size: int, dilation: int) -> None:
    reach = (size - 1) * dilation + 1
    ((low, high),) = resolve_padding("same", (H,), (size,), (stride,), (dilation,))
    b = Builder()
    x = b.input("x", TensorType((1, H, 2)))
    kernel = b.input("k", TensorType((size, 2, 3)))
    extent = f.convolution(b, x, kernel, stride, "same", dilation).type.shape[1]
    for h in range(1, 20):
        out = math.ceil(h / stride)
        total = max((out - 1) * stride + reach - h, 0)
        assert resolve_padding("same", (h,), (size,), (stride,), (dilation,)) == ((total // 2, total - total // 2),)
        assert (evaluate(low, {"h": h}), evaluate(high, {"h": h})) == (total // 2, total - total // 2)
        assert evaluate(extent, {"h": h}) == out
    if reach >= stride or reach == 1:
        assert extent == (H + stride - 1) // stride, "symbolic sizes stay simple"


def test_causal_convolution_never_looks_ahead(run) -> None:
    x, kernel = RNG.normal(size=(1, 6, 1)), RNG.normal(size=(3, 1, 1))
    actual = run(f.convolution, x, kernel, 1, "causal", 2)
    expected = [sum(kernel[j, 0, 0] * x[0, t - 4 + 2 * j, 0] for j in range(3) if t - 4 + 2 * j >= 0) for t in range(6)]
    np.testing.assert_allclose(actual.ravel(), expected, rtol=1e-12)


def test_depthwise_channels_are_input_major(run) -> None:
    x, kernel = RNG.normal(size=(2, 5, 4, 3)), RNG.normal(size=(2, 2, 3, 2))
    actual = run(f.depthwise_convolution, x, kernel)
    assert actual.shape == (2, 4, 3, 6)
    for channel, m in itertools.product(range(3), range(2)):
        single = run(f.convolution, x[..., channel : channel + 1], kernel[:, :, channel : channel + 1, m : m + 1])
        np.testing.assert_allclose(actual[..., channel * 2 + m], single[..., 0], rtol=1e-12)


def transposed_by_keras_rules(
    x: np.ndarray, kernel: np.ndarray, s: int, d: int, padding: str, extra: int | None
) -> np.ndarray:
    """Zeros between the elements, padding at both ends, then a convolution with the flipped kernel, in 1-D."""
    size, filters, _ = kernel.shape
    reach = (size - 1) * d + 1
    if padding == "valid":
        left, right = reach - 1, reach - 1 + (max(s - reach, 0) if extra is None else extra)
    else:
        total = s + reach - 2 if extra is None else reach + reach % 2 - 2 + extra
        left = min(total // 2 + total % 2, reach - 1)
        right = total - left
    spread = np.zeros((x.shape[0], (x.shape[1] - 1) * s + 1, x.shape[2]))
    spread[:, ::s] = x
    wide = np.pad(spread, ((0, 0), (left, max(right, 0)), (0, 0)))[:, : left + spread.shape[1] + right]
    out = wide.shape[1] - reach + 1
    result = np.zeros((x.shape[0], out, filters))
    for position, j in itertools.product(range(out), range(size)):
        result[:, position] += wide[:, position + j * d] @ kernel[size - 1 - j].T
    return result


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize(("size", "s"), [(3, 1), (3, 2), (2, 3), (4, 2), (5, 3), (1, 2)])
def test_transposed_convolution_by_keras_rules(run, padding: str, size: int, s: int, d: int) -> None:
    x, kernel = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(size, 2, 3))
    for extra in (None, 0, 1) if s > 1 else (None, 0):
        actual = run(f.convolution_transpose, x, kernel, s, padding, d, extra)
        expected = transposed_by_keras_rules(x, kernel, s, d, padding, extra)
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)
        b = Builder()
        values = b.input("x", TensorType((2, H, 3))), b.input("k", TensorType(kernel.shape))
        symbolic = f.convolution_transpose(b, *values, s, padding, d, extra)
        assert evaluate(symbolic.type.shape[1], {"h": 4}) == expected.shape[1]


def test_pooling_defaults_and_same(run) -> None:
    x = RNG.normal(size=(1, 5, 1))
    row = x[0, :, 0]
    np.testing.assert_array_equal(run(f.max_pool, x, 2).ravel(), [row[:2].max(), row[2:4].max()])
    np.testing.assert_array_equal(run(f.max_pool, x, 2, None, "same").ravel()[-1], row[4])
    actual = run(f.average_pool, x, 3, 1, "same").ravel()
    np.testing.assert_allclose(actual, [row[max(i - 1, 0) : i + 2].mean() for i in range(5)], rtol=1e-12)


def test_take_and_one_hot(run) -> None:
    x, i = RNG.normal(size=(3, 4)), np.array([[2, -1], [0, 1]])
    np.testing.assert_array_equal(run(f.take, x, i, axis=-1), np.take(x, i, -1))
    np.testing.assert_array_equal(run(f.take, x, i), np.take(x, i))
    np.testing.assert_array_equal(run(f.take, x, i.astype("float32"), axis=0), np.take(x, i, 0))
    np.testing.assert_array_equal(run(f.one_hot, np.abs(i), 3), np.eye(3, dtype="float32")[np.abs(i)])
    np.testing.assert_array_equal(run(f.one_hot, np.abs(i), 3, axis=0), np.moveaxis(np.eye(3)[np.abs(i)], -1, 0))
    total = run(f.scatter_add, x, np.array([1, 0, 1]), axis=0, extent=2)
    np.testing.assert_allclose(total, [x[1], x[0] + x[2]])


def test_half_precision_is_summed_in_single(run) -> None:
    x = np.full((1, 8192), 10.0, "float16")
    assert run(f.mean, x).tolist() == 10.0
    assert run(f.mean, x).dtype == "float16"
    b = Builder()
    value = b.input("x", TensorType((8, 70000), "float16"))
    for op in ("softmax", "layer_normalization"):
        vector = b.input(f"v_{op}", TensorType((70000,), "float16"))
        result = f.softmax(b, value) if op == "softmax" else f.layer_normalization(b, value, vector, vector)
        inner = Builder()
        fed = [inner.input(str(i), v.type) for i, v in enumerate(result.producer.inputs)]
        result.producer.op.decompose(inner, *fed)  # type: ignore[attr-defined]
        sums = [n for n in inner.nodes if n.op.name in ("reduce_sum", "mean", "variance")]
        assert sums
        assert all(n.inputs[0].type.dtype == "float32" for n in sums)
