"""Depthwise convolutions against float64 oracles: any window, multiplier, width of vectors, cut of the work."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from codegen.test_contraction_nonfinite import products
from contraction_oracle import CONVOLUTIONS, LANES, check, convolution_operands, convolution_oracle, run, target_with
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.codegen.contraction import (
    ContractionSpec,
    ConvolutionGeometry,
    contraction_extents,
    contraction_scratch,
    contraction_work,
)
from compiler.codegen.kernels import contraction_of
from compiler.ops.convolution import Convolution, ConvolutionInputGradient, ConvolutionKernelGradient
from compiler.target import Target, host_target
from compiler.types import TensorType
from runtime.dimensions import symbol

KINDS = ("depthwise", "depthwise_input_gradient", "depthwise_kernel_gradient")


def plain_kind(kind: str) -> str:
    return kind.replace("depthwise", "convolution")


def check_depthwise(kind: str, geometry: ConvolutionGeometry, dtype: str = "float32", **options: Any) -> None:
    spec = ContractionSpec(kind, dtype)
    first, second = convolution_operands(plain_kind(kind), geometry, dtype, seed=hash(geometry) % 1000)
    oracle = convolution_oracle(plain_kind(kind), geometry, first, second)
    magnitude = convolution_oracle(plain_kind(kind), geometry, np.abs(first), np.abs(second))
    taps, multiplier = int(np.prod(geometry.kernel_shape[:2])), geometry.kernel_shape[3] // geometry.groups
    pixels = int(np.prod(geometry.output_shape[:3]))
    depth = {"depthwise": taps, "depthwise_input_gradient": taps * multiplier}.get(kind, pixels)
    result = run(spec, geometry, (first, second), oracle.shape, **options)
    check(result, oracle, magnitude, depth)
    parts = run(spec, geometry, (first, second), oracle.shape, cuts=(0.3, 0.4, 0.9), **options)
    np.testing.assert_array_equal(result, parts, "where the work is cut must not change a bit")


@st.composite
def geometries(draw: st.DrawFn) -> ConvolutionGeometry:
    groups = draw(st.integers(2, 40) | st.sampled_from([64, 70]))
    multiplier = draw(st.sampled_from([1, 1, 1, 2, 3]))
    small, padding = st.integers(1, 3), st.integers(0, 4)
    geometry = ConvolutionGeometry(
        (draw(small), draw(st.integers(1, 20)), draw(st.integers(1, 34)), groups),
        (draw(st.integers(1, 4)), draw(st.integers(1, 5)), 1, groups * multiplier),
        strides=(draw(small), draw(small)),
        padding=((draw(padding), draw(padding)), (draw(padding), draw(padding))),
        dilation=(draw(small), draw(small)),
        groups=groups,
    )
    assume(min(geometry.output_shape) > 0)
    return geometry


@pytest.mark.parametrize("kind", KINDS)
@given(geometry=geometries())
@settings(max_examples=40, deadline=None)
def test_any_window_and_number_of_channels(kind: str, geometry: ConvolutionGeometry) -> None:
    check_depthwise(kind, geometry)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "geometry",
    [
        ConvolutionGeometry((3, 32, 32, 32), (3, 3, 1, 32), padding=((1, 1), (1, 1)), groups=32),
        ConvolutionGeometry((2, 33, 31, 64), (3, 3, 1, 64), (2, 2), ((0, 1), (1, 1)), groups=64),
        ConvolutionGeometry((40, 4, 4, 24), (3, 3, 1, 24), padding=((1, 1), (1, 1)), groups=24),
        ConvolutionGeometry((2, 1, 600, 17), (1, 7, 1, 34), padding=((0, 0), (6, 0)), groups=17),
        ConvolutionGeometry((2, 9, 9, 5), (7, 7, 1, 5), padding=((3, 3), (3, 3)), groups=5),
        ConvolutionGeometry((1, 3, 3, 1100), (2, 2, 1, 1100), strides=(3, 3), groups=1100),
    ],
    ids=str,
)
def test_layer_shapes(kind: str, geometry: ConvolutionGeometry) -> None:
    check_depthwise(kind, geometry)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dtype", "vector_bytes", "registers"),
    [("float32", 16, 16), ("float32", 32, 16), ("float64", 32, 16), ("float32", 64, 32)],
)
def test_every_width_of_vectors(kind: str, dtype: str, vector_bytes: int, registers: int) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    for channels, multiplier in ((40, 1), (19, 2)):
        shape = (3, 2, 1, channels * multiplier)
        geometry = ConvolutionGeometry((2, 9, 18, channels), shape, (2, 1), ((1, 1), (0, 2)), groups=channels)
        check_depthwise(kind, geometry, dtype, target=target)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_nan_and_infinity_meet_what_the_mathematics_says_and_no_padding(
    kind: str, which: int, bad: float, lanes: int
) -> None:
    geometry = ConvolutionGeometry((2, 7, 6, 3), (3, 3, 1, 6), (2, 1), ((1, 1), (2, 1)), (1, 2), 3)
    operands = [operand.copy() for operand in convolution_operands(plain_kind(kind), geometry, "float32", 0)]
    for index in (0, -1):  # a corner of the image or of the kernel
        operands[which].flat[index] = bad
    oracle = products(plain_kind(kind), geometry, operands[0], operands[1])
    result = run(ContractionSpec(kind, "float32"), geometry, operands, oracle.shape, target=target_with(lanes))
    np.testing.assert_allclose(result, oracle, rtol=1e-4, atol=1e-4)
    assert not np.isfinite(result).all()


@pytest.mark.parametrize("kind", KINDS)
def test_symbolic_extents_run_any_size(kind: str) -> None:
    batch, size = symbol("batch"), symbol("size")
    geometry = ConvolutionGeometry((batch, size, size, 12), (3, 3, 1, 24), (2, 1), ((1, 1), (1, 1)), groups=12)
    for images, extent in ((1, 5), (4, 19), (2, 70)):
        shape = (images, extent, extent, 12)
        bound = ConvolutionGeometry(shape, (3, 3, 1, 24), (2, 1), ((1, 1), (1, 1)), groups=12)
        first, second = convolution_operands(plain_kind(kind), bound, "float32", 0)
        oracle = convolution_oracle(plain_kind(kind), bound, first, second)
        spec = ContractionSpec(kind, "float32")
        sizes = {"batch": images, "size": extent}
        result = run(spec, geometry, (first, second), oracle.shape, sizes=sizes)
        np.testing.assert_allclose(result, oracle, rtol=1e-3, atol=1e-3)


def test_a_long_sum_stays_accurate() -> None:
    """2**18 equal terms: a running float32 sum of them loses digits that partial sums keep."""
    geometry = ConvolutionGeometry((64, 64, 64, 8), (1, 1, 1, 8), groups=8)
    x, g = np.full((64, 64, 64, 8), 1.1, np.float32), np.full((64, 64, 64, 8), 0.7, np.float32)
    result = run(ContractionSpec("depthwise_kernel_gradient", "float32"), geometry, (x, g), (1, 1, 1, 8))
    exact = np.float64(x.flat[0]) * np.float64(g.flat[0]) * 64**3
    np.testing.assert_allclose(result, exact, rtol=1e-4)


def test_there_is_work_for_four_threads() -> None:
    for kind, channels in itertools.product(KINDS, (8, 32, 256)):
        geometry = ConvolutionGeometry((64, 32, 32, channels), (3, 3, 1, channels), groups=channels)
        spec = ContractionSpec(kind, "float32")
        extents = contraction_extents(spec, geometry)
        work = contraction_work(spec, extents, host_target())
        assert isinstance(work, int)
        assert work >= (3 if channels == 8 and kind.endswith("kernel_gradient") else 4)
        scratch = contraction_scratch(spec, extents, host_target())
        assert isinstance(scratch, int)
        assert scratch < 256 * 1024  # half a second-level cache


@pytest.mark.parametrize("multiplier", [1, 3])
def test_convolutions_with_one_channel_a_group_are_taken(multiplier: int) -> None:
    x, kernel = TensorType((4, 8, 8, 10), "float32"), TensorType((3, 3, 1, 10 * multiplier), "float32")
    result = TensorType((4, 8, 8, 10 * multiplier), "float32")
    rest = ((1, 1), ((1, 1), (1, 1)), (1, 1), 10)
    for op, types in (
        (Convolution(*rest), (x, kernel, result)),
        (ConvolutionInputGradient((8, 8), *rest), (result, kernel, x)),
        (ConvolutionKernelGradient((3, 3), *rest), (x, result, kernel)),
    ):
        assert op.infer(*types[:2]) == types[2:]
        assert contraction_of(op, types) is not None
        half = tuple(dataclasses.replace(type_, dtype="float16") for type_ in types)
        assert contraction_of(op, half) is None


def test_convolutions_without_filters_are_left_to_the_general_kind() -> None:
    x, kernel, result = (TensorType(shape, "float32") for shape in ((4, 8, 8, 10), (3, 3, 1, 0), (4, 8, 8, 0)))
    rest = ((1, 1), ((1, 1), (1, 1)), (1, 1), 10)
    for op, types in (
        (Convolution(*rest), (x, kernel, result)),
        (ConvolutionInputGradient((8, 8), *rest), (result, kernel, x)),
        (ConvolutionKernelGradient((3, 3), *rest), (x, result, kernel)),
    ):
        assert op.infer(*types[:2]) == types[2:]
        contraction = contraction_of(op, types)
        assert contraction is not None
        assert contraction.spec.kind in CONVOLUTIONS
