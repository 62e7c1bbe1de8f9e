"""Convolution and pooling against loops over every window, with padding worked out from Keras's rules."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import ops
from graphcore.layers import Input

RNG = np.random.default_rng(3)


def same_pads(extent: int, size: int, stride: int, dilation: int) -> tuple[int, int]:
    total = max((math.ceil(extent / stride) - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
    return total // 2, total - total // 2


def naive_conv(x, kernel, strides, padding, dilation):
    """Definition: every output element is a sum over a window; float64."""
    spatial, window = x.shape[1:-1], kernel.shape[:-2]
    pads = [
        same_pads(*row) if padding == "same" else (0, 0) for row in zip(spatial, window, strides, dilation, strict=True)
    ]
    x = np.pad(x.astype(np.float64), [(0, 0), *pads, (0, 0)])
    sizes = [
        (extent - (k - 1) * d - 1) // s + 1
        for extent, k, s, d in zip(x.shape[1:-1], window, strides, dilation, strict=True)
    ]
    groups = x.shape[-1] // kernel.shape[-2]
    group_in, group_out = kernel.shape[-2], kernel.shape[-1] // groups
    out = np.zeros((x.shape[0], *sizes, kernel.shape[-1]))
    for place in itertools.product(*map(range, sizes)):
        for offset in itertools.product(*map(range, window)):
            at = tuple(p * s + o * d for p, s, o, d in zip(place, strides, offset, dilation, strict=True))
            for g in range(groups):
                weights = kernel[(*offset, slice(None), slice(g * group_out, (g + 1) * group_out))]
                pixel = x[(slice(None), *at, slice(g * group_in, (g + 1) * group_in))]
                out[(slice(None), *place, slice(g * group_out, (g + 1) * group_out))] += pixel @ weights
    return out


def naive_transpose(x, kernel, strides, padding, dilation, output_padding):
    """Definition: every input element adds its window to the output, which is then cut to Keras's size."""
    window, rank = kernel.shape[:-2], len(strides)
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(x.shape[1:-1], strides, reach, strict=True)]
    out = np.zeros((x.shape[0], *full, kernel.shape[-2]))
    for place in itertools.product(*map(range, x.shape[1:-1])):
        for offset in itertools.product(*map(range, window)):
            at = tuple(p * s + o * d for p, s, o, d in zip(place, strides, offset, dilation, strict=True))
            out[(slice(None), *at)] += x[(slice(None), *place)].astype(np.float64) @ kernel[offset].T
    for axis in range(rank):
        n, s, r = x.shape[1 + axis], strides[axis], reach[axis]
        p = None if output_padding is None else output_padding[axis]
        if padding == "valid":
            size = (n - 1) * s + r + (max(s - r, 0) if p is None else p)
            cut = 0
        else:
            size = n * s if p is None else (n - 1) * s + r % 2 + p
            total = s + r - 2 if p is None else r + r % 2 - 2 + p
            cut = r - 1 - min(total // 2 + total % 2, r - 1)
        missing = max(cut + size - out.shape[1 + axis], 0)
        out = np.pad(out, [(0, missing) if i == 1 + axis else (0, 0) for i in range(rank + 2)])
        out = np.take(out, range(cut, cut + size), axis=1 + axis)
    return out


@given(
    rank=st.integers(1, 3),
    extent=st.integers(3, 8),
    size=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    padding=st.sampled_from(["valid", "same", "SAME"]),
    seed=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_conv(rank, extent, size, stride, dilation, groups, padding, seed):
    extent = min(extent, 5) if rank == 3 else extent
    if stride > 1 or (size - 1) * dilation + 1 > extent:
        dilation = 1
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, *(extent,) * rank, 2 * groups)).astype(np.float32)
    kernel = rng.normal(size=(*(size,) * rank, 2, 2 * groups)).astype(np.float32)
    expected = naive_conv(x, kernel, (stride,) * rank, padding.lower(), (dilation,) * rank)
    result = ops.conv(x, kernel, strides=stride, padding=padding, dilation_rate=dilation)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_same_padding_puts_the_odd_element_last(three_ways):
    x = np.arange(8, dtype=np.float32).reshape(1, 8, 1)
    kernel = np.array([1, 0, 0], np.float32).reshape(3, 1, 1)
    expected = np.array([0, 2, 4, 6], np.float32).reshape(1, 4, 1)
    three_ways(lambda a, k: ops.conv(a, k, 2, "same"), (x, kernel), expected, batch=None)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_one_graph_serves_every_spatial_size(padding):
    from compiler.interpret import interpret
    from graphcore.tracing import Trace

    kernel = RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)
    with Trace("t") as trace:
        y = ops.conv(trace.input("x", (None, None, None, 2)), trace.input("k", kernel.shape), 2, padding)
    graph, _ = trace.finish({"y": y})
    assert y.shape == (None, None, None, 4)
    for height, width in [(5, 8), (6, 6), (3, 3)]:
        x = RNG.normal(size=(2, height, width, 2)).astype(np.float32)
        (got,), _ = interpret(graph, [x, kernel])
        np.testing.assert_allclose(got, naive_conv(x, kernel, (2, 2), padding, (1, 1)), rtol=1e-4, atol=1e-5)


def test_channels_first_moves_only_the_axes():
    x = RNG.normal(size=(2, 6, 5, 3)).astype(np.float32)
    kernel = RNG.normal(size=(3, 2, 3, 4)).astype(np.float32)
    last = ops.conv(x, kernel, padding="same")
    first = ops.conv(np.moveaxis(x, -1, 1), kernel, padding="same", data_format="channels_first")
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, rtol=1e-6)
    pooled = ops.max_pool(np.moveaxis(x, -1, 1), 2, data_format="channels_first")
    np.testing.assert_array_equal(np.moveaxis(pooled, 1, -1), ops.max_pool(x, 2))


def test_depthwise_and_separable():
    x = RNG.normal(size=(2, 6, 5, 3)).astype(np.float32)
    depthwise = RNG.normal(size=(3, 3, 3, 2)).astype(np.float32)
    pointwise = RNG.normal(size=(1, 1, 6, 4)).astype(np.float32)
    expected = np.zeros((2, 6, 5, 6))
    for c, m in itertools.product(range(3), range(2)):
        one = naive_conv(x[..., c : c + 1], depthwise[:, :, c : c + 1, m : m + 1], (1, 1), "same", (1, 1))
        expected[..., c * 2 + m] = one[..., 0]
    np.testing.assert_allclose(ops.depthwise_conv(x, depthwise, padding="same"), expected, rtol=1e-4, atol=1e-5)
    result = ops.separable_conv(x, depthwise, pointwise, padding="same")
    np.testing.assert_allclose(result, expected @ pointwise[0, 0], rtol=1e-4, atol=1e-4)


@given(
    extent=st.integers(1, 5),
    size=st.integers(1, 4),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 2),
    padding=st.sampled_from(["valid", "same"]),
    extra=st.none() | st.integers(0, 2),
    rank=st.integers(1, 2),
)
@settings(max_examples=60, deadline=None)
def test_conv_transpose(extent, size, stride, dilation, padding, extra, rank):
    dilation = 1 if stride > 1 else dilation
    extra = None if extra is None else min(extra, stride - 1)
    reach = (size - 1) * dilation + 1
    if extra is not None and padding == "same" and reach + reach % 2 - 2 + extra < 0:
        extra = None
    x = RNG.normal(size=(2, *(extent,) * rank, 3)).astype(np.float32)
    kernel = RNG.normal(size=(*(size,) * rank, 2, 3)).astype(np.float32)
    pads = None if extra is None else (extra,) * rank
    expected = naive_transpose(x, kernel, (stride,) * rank, padding, (dilation,) * rank, pads)
    result = ops.conv_transpose(x, kernel, stride, padding, extra, dilation_rate=dilation)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@given(
    extent=st.integers(2, 9),
    size=st.integers(1, 3),
    stride=st.none() | st.integers(1, 3),
    padding=st.sampled_from(["valid", "same"]),
)
@settings(max_examples=40, deadline=None)
def test_pooling(extent, size, stride, padding):
    size = min(size, extent)
    step = stride or size
    x = RNG.normal(size=(2, extent, extent, 3)).astype(np.float32) - 5  # below 0: padding must not win
    low, high = same_pads(extent, size, step, 1) if padding == "same" else (0, 0)
    padded = np.pad(x, [(0, 0), (low, high), (low, high), (0, 0)], constant_values=np.nan)
    count = (padded.shape[1] - size) // step + 1
    maximum, mean = np.zeros((2, 2, count, count, 3))
    for i, j in itertools.product(range(count), repeat=2):
        window = padded[:, i * step : i * step + size, j * step : j * step + size]
        maximum[:, i, j], mean[:, i, j] = np.nanmax(window, (1, 2)), np.nanmean(window, (1, 2))
    np.testing.assert_allclose(ops.max_pool(x, size, stride, padding), maximum, rtol=1e-6)
    np.testing.assert_allclose(ops.average_pool(x, size, stride, padding), mean, rtol=1e-5)


def test_windows_that_do_not_fit_are_refused_when_the_model_is_described():
    x = Input((4, 4, 3))
    kernel = np.zeros((5, 5, 3, 2), np.float32)
    with pytest.raises(ValueError, match="Computed output size would be zero or negative"):
        ops.conv(x, kernel)
    with pytest.raises(ValueError, match="zero or negative"):
        ops.max_pool(x, 5)
    with pytest.raises(ValueError, match="divisible"):
        ops.conv(x, np.zeros((3, 3, 2, 2), np.float32))
    with pytest.raises(ValueError, match="not supported together"):
        ops.conv(x, kernel[:2, :2], strides=2, dilation_rate=2)
    with pytest.raises(ValueError, match="must be 'valid' or 'same'"):
        ops.conv(x, kernel[:2, :2], padding="full")
    with pytest.raises(ValueError, match="below its stride"):
        ops.conv_transpose(x, np.zeros((3, 3, 2, 3), np.float32), 2, output_padding=2)
    with pytest.raises(ValueError, match="2 positive integers"):
        ops.max_pool(x, (2, 2, 2))
