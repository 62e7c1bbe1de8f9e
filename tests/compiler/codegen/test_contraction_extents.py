"""Every kind of contraction at every width of vectors, each extent anywhere from 1 to 70, against float64.

The error of a result is at most twice that of plain float32 sums: the largest over the result, against the largest
that the same sums have when they are added one product after another, in `ORDERS` different orders. (A single order
is no yardstick for a result of one element: it may be exact by luck.) Winograd's convolutions have a bound of their
own, stated in `test_winograd`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from codegen.test_winograd import BOUND, EPS, added, direct, direct_gradient, transformed
from contraction_oracle import CONVOLUTIONS, convolution_operands, run, windows
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.codegen.contraction import ContractionSpec, ConvolutionGeometry, MatmulGeometry, specialised
from compiler.codegen.microkernel_tile import choose_tile
from compiler.target import Target, host_target

Array = np.ndarray[Any, Any]

ORDERS = 6
MOST_PRODUCTS = 1_500_000
LANES = {4: 16, 8: 16, 16: 32}  # and the registers beside them
EXTENT = st.integers(1, 70)
DEPTHWISE = tuple(kind.replace("convolution", "depthwise") for kind in CONVOLUTIONS)


@functools.cache
def target(lanes: int) -> Target:
    host = host_target()
    return Target("cpu", host.cpu, host.features, lanes * 4, LANES[lanes])


def as_products(kind: str, geometry: ConvolutionGeometry, first: Array, second: Array) -> tuple[Array, Array]:
    """[groups, rows, depth] and [groups, depth, columns] whose products are the result; zeros stand for padding."""
    groups, (images, height, width, channels) = geometry.groups, geometry.input_shape
    (top, bottom), (left, right) = geometry.padding
    places = [place for _, _, place in windows(geometry)]

    def grouped(array: Array) -> Array:  # [.., pixels, groups * channels] -> [groups, pixels, .. * channels]
        parts = array.reshape(*array.shape[:-1], groups, -1)
        return np.moveaxis(parts, (-2, 1), (0, 1)).reshape(groups, array.shape[1], -1)

    def pixels(array: Array) -> Array:
        return array.reshape(1, -1, array.shape[-1])

    padded = (images, height + top + bottom, width + left + right)
    if kind == "convolution_input_gradient":
        spread = np.zeros((len(places), *padded, first.shape[-1]), first.dtype)
        for tap, place in enumerate(places):
            spread[tap][place] = first
        inside = spread[:, :, top : top + height, left : left + width]
        left_side = grouped(inside.reshape(len(places), -1, first.shape[-1]))
        kernel = second.reshape(len(places), -1, groups, geometry.kernel_shape[3] // groups)
        return left_side, kernel.transpose(2, 0, 3, 1).reshape(groups, left_side.shape[2], -1)
    image = np.zeros((*padded, channels), first.dtype)
    image[:, top : top + height, left : left + width] = first
    patches = grouped(np.stack([image[place].reshape(-1, channels) for place in places]))
    if kind == "convolution_kernel_gradient":
        return patches.swapaxes(1, 2), grouped(pixels(second))
    kernel = second.reshape(patches.shape[2], groups, -1)
    return patches, kernel.swapaxes(0, 1)


def from_products(kind: str, geometry: ConvolutionGeometry, product: Array) -> Array:
    """The result in its own shape, from [groups, rows, columns]."""
    shape = {"convolution": geometry.output_shape, "convolution_input_gradient": geometry.input_shape}
    return product.swapaxes(0, 1).reshape(shape.get(kind, geometry.kernel_shape))


def plain_errors(a: Array, b: Array, exact: Array) -> float:
    """The largest error of sums in float32, one product after another, in several orders."""
    orders: list[Sequence[int]] = [range(a.shape[2]), range(a.shape[2])[::-1]]
    random = np.random.default_rng(0)
    orders += [random.permutation(a.shape[2]).tolist() for _ in range(ORDERS - 2)]
    worst = 0.0
    for order in orders:
        total = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
        for step in order:
            total += a[:, :, step, None] * b[:, step, None, :]
        worst = max(worst, float(np.abs(total - exact).max(initial=0)))
    return worst


def check_sums(result: Array, a: Array, b: Array, restore: Any) -> None:
    """`result` beside the products of a and b; half a unit in the last place is rounding that no sum is without."""
    exact = a.astype(np.float64) @ b.astype(np.float64)
    allowed = 2 * plain_errors(a, b, exact) + 0.5 * EPS * float(np.abs(exact).max(initial=0))
    error = float(np.abs(result - restore(exact)).max(initial=0))
    assert error <= allowed, f"{error} is more than {allowed}"


def check_convolution(spec: ContractionSpec, geometry: ConvolutionGeometry, on: Target, seed: int) -> None:
    kind = spec.kind.replace("depthwise", "convolution")
    operands = convolution_operands(kind, geometry, "float32", seed)
    a, b = as_products(kind, geometry, *operands)

    def restore(product: Array) -> Array:
        return from_products(kind, geometry, product)

    result = run(spec, geometry, operands, restore(np.zeros((a.shape[0], a.shape[1], b.shape[2]))).shape, target=on)
    check_sums(result, a, b, restore)


def check_matmul(spec: ContractionSpec, geometry: MatmulGeometry, on: Target, seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = [int(size) for size in (geometry.batch, geometry.rows, geometry.depth, geometry.columns)]  # type: ignore[arg-type]
    batch, rows, depth, columns = sizes
    a = random.standard_normal((batch, rows, depth)).astype(np.float32)
    b = random.standard_normal((batch, depth, columns)).astype(np.float32)
    stored = (a.swapaxes(1, 2) if spec.transpose_a else a, b.swapaxes(1, 2) if spec.transpose_b else b)
    result = run(spec, geometry, stored, (batch, rows, columns), target=on)
    check_sums(result, a, b, lambda product: product)


@st.composite
def convolutions(draw: st.DrawFn, groups: st.SearchStrategy[int]) -> ConvolutionGeometry:
    """Any window over any image; so few images, taps or channels that the oracle stays quick."""
    count, small = draw(groups), st.integers(1, 3)
    height, width = draw(EXTENT), draw(EXTENT)
    taps, dilation = (draw(st.integers(1, 4)), draw(st.integers(1, 4))), (draw(small), draw(small))
    padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(2))
    room = max(1, MOST_PRODUCTS // (height * width * taps[0] * taps[1] * count))
    channels = draw(st.integers(1, min(70, room)))
    filters = draw(st.integers(1, max(1, min(70, room // channels))))
    images = draw(st.integers(1, max(1, min(70, room // (channels * filters)))))
    geometry = ConvolutionGeometry(
        (images, height, width, channels * count), (*taps, channels, filters * count),
        (draw(small), draw(small)), padding, dilation, count,  # type: ignore[arg-type]
    )  # fmt: skip
    assume(min(geometry.output_shape) > 0)
    return geometry


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("transposes", [(False, False), (False, True), (True, False), (True, True)], ids=str)
@given(rows=st.sampled_from([1, 2]) | EXTENT, depth=EXTENT, columns=EXTENT, batch=st.integers(1, 3), seed=EXTENT)
@settings(max_examples=25, deadline=None)
def test_products(
    lanes: int, transposes: tuple[bool, bool], rows: int, depth: int, columns: int, batch: int, seed: int
) -> None:
    geometry = MatmulGeometry(rows, depth, columns, batch)
    spec = ContractionSpec("matmul", "float32", *transposes)
    check_matmul(spec, geometry, target(lanes), seed)
    narrow = specialised(spec, geometry, target(lanes))
    if narrow.narrow:
        check_matmul(narrow, geometry, target(lanes), seed)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("kind", CONVOLUTIONS)
@given(geometry=convolutions(st.just(1) | st.integers(2, 5)), seed=EXTENT)
@settings(max_examples=20, deadline=None)
def test_direct_convolutions(kind: str, lanes: int, geometry: ConvolutionGeometry, seed: int) -> None:
    check_convolution(ContractionSpec(kind, "float32"), geometry, target(lanes), seed)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("kind", CONVOLUTIONS[:2])
@given(geometry=convolutions(st.just(1)), columns=EXTENT, summed=st.integers(1, 4), seed=EXTENT)
@settings(max_examples=20, deadline=None)
def test_narrow_convolutions(
    kind: str, lanes: int, geometry: ConvolutionGeometry, columns: int, summed: int, seed: int
) -> None:
    few, many = columns % (choose_tile("float32", target(lanes)).least_columns - 1) + 1, summed * lanes
    channels, filters = (many, few) if kind == "convolution" else (few, many)
    geometry = dataclasses.replace(
        geometry,
        input_shape=(1, *geometry.input_shape[1:3], channels),
        kernel_shape=(*geometry.kernel_shape[:2], channels, filters),
    )
    spec = specialised(ContractionSpec(kind, "float32"), geometry, target(lanes))
    assert spec.narrow
    check_convolution(spec, geometry, target(lanes), seed)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("kind", DEPTHWISE)
@given(geometry=convolutions(st.integers(2, 70)), seed=EXTENT)
@settings(max_examples=20, deadline=None)
def test_depthwise_convolutions(kind: str, lanes: int, geometry: ConvolutionGeometry, seed: int) -> None:
    multiplier = geometry.kernel_shape[3] // geometry.groups % 4 + 1  # type: ignore[operator]
    geometry = dataclasses.replace(
        geometry,
        input_shape=(*geometry.input_shape[:3], geometry.groups),
        kernel_shape=(*geometry.kernel_shape[:2], 1, geometry.groups * multiplier),
    )
    check_convolution(ContractionSpec(kind, "float32"), geometry, target(lanes), seed)


WINOGRAD_PADDING = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2)
CHANNELS = st.integers(16, 70)


@pytest.mark.parametrize("lanes", LANES)
@given(height=EXTENT, width=EXTENT, channels=CHANNELS, filters=CHANNELS, padding=WINOGRAD_PADDING, seed=EXTENT)
@settings(max_examples=8, deadline=None)
def test_winograd(lanes: int, height: int, width: int, channels: int, filters: int, padding: Any, seed: int) -> None:
    geometry = ConvolutionGeometry((2, height, width, channels), (3, 3, channels, filters), padding=padding, chunks=3)
    assume(min(geometry.output_shape) > 0)
    x, kernel = convolution_operands("convolution", geometry, "float32", seed)
    spec = ContractionSpec("winograd_convolution", "float32")
    result = run(spec, geometry, (x, transformed(kernel)), geometry.output_shape, target=target(lanes))  # type: ignore[arg-type]
    scale = np.abs(x).max() * np.abs(kernel).sum((0, 1, 2))
    assert (np.abs(result - direct(x, kernel, padding)) <= BOUND * EPS * scale).all()
    g = np.random.default_rng(seed).standard_normal(geometry.output_shape).astype(np.float32)  # type: ignore[arg-type]
    gradient = ContractionSpec("winograd_kernel_gradient", "float32")
    parts = run(gradient, geometry, (x, g), (9, 3, channels, filters), target=target(lanes))
    terms = 2 * -(-g.shape[1] // 4) * -(-g.shape[2] // 4) * 16
    bound = BOUND * EPS * terms * np.abs(x).max() * np.abs(g).max()
    assert np.abs(added(parts) - direct_gradient(x, g, padding)).max() <= bound
