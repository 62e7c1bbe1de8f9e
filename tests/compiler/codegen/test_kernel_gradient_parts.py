"""Kernel gradients in parts: each part is the gradient of its share of the lines, whatever the shapes and threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from contraction_oracle import LANES, Array, check, convolution_operands, convolution_oracle, run, target_with
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.codegen.contraction import (
    ContractionSpec,
    ConvolutionGeometry,
    MatmulGeometry,
    contraction_fills,
    contraction_scratch,
)
from compiler.codegen.contraction import contraction_extents as extents_of
from compiler.driver import compile_graph
from compiler.ir import Builder
from compiler.ops.kernel_gradient_parts import ConvolutionKernelGradientParts
from compiler.target import Target, host_target
from compiler.types import TensorType
from runtime.dimensions import symbol
from runtime.threads import set_num_threads

KIND = "convolution_kernel_gradient"


pytestmark = pytest.mark.usefixtures("threads_restored")


def parts_oracle(geometry: ConvolutionGeometry, x: Array, g: Array) -> Array:
    """For each part the whole gradient, with all lines of other parts set to zero."""
    images, height, *_ = g.shape
    share = -(-images * height // geometry.chunks)
    parts = []
    for begin in range(0, geometry.chunks * share, share):
        kept = np.zeros((images * height, *g.shape[2:]))
        kept[begin : begin + share] = g.reshape(kept.shape)[begin : begin + share]
        parts.append(convolution_oracle(KIND, geometry, x, kept.reshape(g.shape)))
    return np.concatenate(parts[: geometry.chunks])


def check_parts(geometry: ConvolutionGeometry, dtype: str = "float32", target: Target | None = None) -> None:
    spec = ContractionSpec(KIND, dtype)
    x, g = convolution_operands(KIND, geometry, dtype, seed=hash(geometry) % 1000)
    oracle = parts_oracle(geometry, x, g)
    magnitude = parts_oracle(geometry, np.abs(x), np.abs(g))
    result = run(spec, geometry, (x, g), oracle.shape, target=target)
    check(result, oracle, magnitude, int(np.prod(geometry.output_shape[:3])))
    again = run(spec, geometry, (x, g), oracle.shape, cuts=(0.2, 0.5, 0.8), target=target)
    np.testing.assert_array_equal(result, again, "where the work is cut must not change a bit")


@st.composite
def geometries(draw: st.DrawFn) -> ConvolutionGeometry:
    groups = draw(st.sampled_from([1, 1, 2]))
    channels, filters = draw(st.integers(1, 9)), draw(st.integers(1, 20))
    small, padding = st.integers(1, 3), st.integers(0, 2)
    geometry = ConvolutionGeometry(
        (draw(st.integers(1, 7)), draw(st.integers(1, 14)), draw(st.integers(1, 14)), channels * groups),
        (draw(small), draw(small), channels, filters * groups),
        strides=draw(st.tuples(small, small)),
        padding=draw(st.just(((0, 0), (0, 0))) | st.tuples(*[st.tuples(padding, padding)] * 2)),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
        chunks=draw(st.integers(2, 9)),
    )
    assume(min(geometry.output_shape) > 0)
    return geometry


@given(geometry=geometries())
@settings(max_examples=60, deadline=None)
def test_parts_on_odd_shapes(geometry: ConvolutionGeometry) -> None:
    check_parts(geometry)


SAME = ((1, 1), (1, 1))


@pytest.mark.parametrize("chunks", [1, 4])
@pytest.mark.parametrize(
    "geometry",
    [
        ((5, 8, 8, 64), (1, 1, 64, 48)),
        ((3, 8, 8, 128), (3, 3, 128, 16), (2, 2), SAME),
        ((9, 6, 7, 64), (2, 3, 64, 17)),
        ((3, 9, 8, 64), (1, 1, 64, 20), (2, 2)),
        ((4, 9, 8, 128), (3, 3, 64, 40), (1, 1), SAME, (1, 1), 2),
    ],
    ids=str,
)
def test_pixels_whose_lines_share_sets_of_the_cache(geometry: tuple[tuple[int, ...], ...], chunks: int) -> None:
    check_parts(ConvolutionGeometry(*geometry, chunks=chunks))  # type: ignore[arg-type]


def test_parts_in_float64_and_at_other_widths() -> None:
    geometry = ConvolutionGeometry((5, 9, 10, 32), (3, 2, 32, 21), (2, 1), ((1, 1), (0, 2)), chunks=3)
    check_parts(geometry, "float64")
    host = host_target()
    for vector_bytes in (16, 64):
        check_parts(geometry, target=Target("cpu", host.cpu, host.features, vector_bytes, 32))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_what_is_not_finite_reaches_its_own_part_and_products_only(which: int, bad: float, lanes: int) -> None:
    geometry = ConvolutionGeometry((4, 5, 6, 3), (3, 3, 3, 10), padding=SAME, chunks=4)
    operands = convolution_operands(KIND, geometry, "float32", 0)
    operands[which][2, 0, 0, 1] = bad  # in the third part; a corner, so that taps above and left of it read padding
    spec, target = ContractionSpec(KIND, "float32"), target_with(lanes)
    result = run(spec, geometry, operands, (12, 3, 3, 10), target=target).reshape(4, 3, 3, 3, 10)
    assert np.isfinite(result[[0, 1, 3]]).all()
    met = np.zeros((3, 3, 3, 10), bool)
    if which == 0:  # the pixel in the corner meets the results whose window reaches it
        met[:2, :2, 1, :] = True
    else:  # the result in the corner meets the taps that lie in the image
        met[1:, 1:, :, 1] = True
    np.testing.assert_array_equal(~np.isfinite(result[2]), met)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_reference_is_the_gradient_of_each_share(groups: int) -> None:
    geometry = ConvolutionGeometry(
        (3, 7, 6, 2 * groups), (3, 2, 2, 5 * groups), (2, 1), ((1, 1), (0, 1)), (1, 2), groups, chunks=5
    )
    x, g = convolution_operands(KIND, geometry, "float64", 1)
    op = ConvolutionKernelGradientParts((3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2), groups, 5)
    (parts,) = op.reference(x, g)
    np.testing.assert_allclose(parts, parts_oracle(geometry, x, g), rtol=1e-12, atol=1e-12)
    (type_,) = op.infer(TensorType(x.shape), TensorType(g.shape))
    assert parts.shape == type_.shape == (15, 2, 2, 5 * groups)


@pytest.mark.parametrize("spatial", [1, 2])
def test_a_compiled_gradient_has_the_same_bits_on_any_thread_count(spatial: int) -> None:
    b = Builder("gradient")
    n = symbol("n")
    extents, ones = (12, 11)[:spatial], (1, 1)[:spatial]
    x = b.input("x", TensorType((n, *extents, 6)))
    g = b.input("g", TensorType((n, *extents, 18)))
    op = ConvolutionKernelGradientParts((3, 3)[:spatial], ones, SAME[:spatial], ones, 1, 4)
    b.output("parts", b.emit(op, x, g))
    executable = compile_graph(b.build()).executable
    random = np.random.default_rng(2)
    for images in (1, 3, 10):
        arrays = [random.standard_normal((images, *extents, c)).astype("float32") for c in (6, 18)]
        (expected,) = op.reference(*(array.astype("float64") for array in arrays))
        results = []
        for threads in (1, 2, 3, 4):
            set_num_threads(threads)
            results.append(executable.run(arrays, [])[0])
        np.testing.assert_allclose(results[0], expected, rtol=1e-4, atol=1e-4)
        for one, other in itertools.pairwise(results):
            np.testing.assert_array_equal(one, other)


def test_what_does_not_fit_is_refused() -> None:
    images = [TensorType((2, 8, 8, 3)), TensorType((2, 8, 8, 5))]
    with pytest.raises(ValueError, match="chunks must be positive"):
        ConvolutionKernelGradientParts((3, 3), (1, 1), SAME, (1, 1), 1, 0).infer(*images)
    with pytest.raises(ValueError, match="spatial axis 0"):
        ConvolutionKernelGradientParts((2, 3), (1, 1), SAME, (1, 1), 1, 2).infer(*images)
    volume = TensorType((2, 8, 8, 8, 3))
    with pytest.raises(ValueError, match="one or two spatial axes"):
        ConvolutionKernelGradientParts((1,) * 3, (1,) * 3, ((0, 0),) * 3, (1,) * 3, 1, 2).infer(volume, volume)


def test_which_calls_fill_private_memory() -> None:
    spec = ContractionSpec(KIND, "float32")
    n = symbol("n")
    whole = ConvolutionGeometry((n, 8, 8, 3), (3, 3, 3, 5), padding=SAME)
    shared = ConvolutionGeometry((n, 8, 8, 3), (3, 3, 3, 5), padding=SAME, chunks=4)
    assert contraction_fills(spec, whole)
    assert not contraction_fills(spec, shared)
    assert contraction_fills(ContractionSpec("matmul", "float32"), MatmulGeometry(n, 8, 8))
    assert contraction_fills(ContractionSpec("convolution", "float32"), whole)
    assert not contraction_fills(ContractionSpec("convolution", "float32", packed=True), whole)
    assert not contraction_fills(ContractionSpec("winograd_convolution", "float32"), whole)
    assert "n" not in str(contraction_scratch(spec, extents_of(spec, shared), host_target())).split()
