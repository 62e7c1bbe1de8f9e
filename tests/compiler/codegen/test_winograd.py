"""Winograd's convolutions against direct sums in float64: sizes, paddings, widths, threads, NaN and infinity, errors.

The bound on the error: with eps the distance of 1 to the next float32, a result is off by at most
`BOUND * eps * max|x| * sum|w|`, the sum over all weights of its filter; a kernel gradient by at most `BOUND * eps`
times the number of pixels in all tiles, times max|x| max|g|. On random data the root of the mean square of the error
is at most `MEAN_RATIO` times that of direct float32 sums.
"""

from __future__ import annotations

import numpy as np
import pytest
from contraction_oracle import LANES, target_with
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.codegen.contraction import ContractionSpec, ConvolutionGeometry, contraction_scratch, contraction_work
from compiler.codegen.contraction import contraction_extents as extents_of
from compiler.driver import Compiled, compile_graph
from compiler.ir import Builder, Graph
from compiler.ops.registry import OPS
from compiler.ops.winograd import WinogradConvolution, WinogradKernelGradient
from compiler.target import Target, host_target
from compiler.types import TensorType
from compiler.winograd import image_transform, kernel_transform, result_transform
from runtime.dimensions import Dim, evaluate, symbol
from runtime.threads import set_num_threads

Array = np.ndarray
Pads = tuple[tuple[int, int], tuple[int, int]]

EPS = float(np.finfo("float32").eps)
BOUND = 2.0
MEAN_RATIO = 3.0
G = kernel_transform()


pytestmark = pytest.mark.usefixtures("threads_restored")


def convolution_graph(channels: int, filters: int, padding: Pads, sizes: tuple[Dim, ...] = ()) -> Graph:
    b = Builder("convolution")
    n, h, w = sizes or (symbol("n"), symbol("h"), symbol("w"))
    x = b.input("x", TensorType((n, h, w, channels)))
    u = b.input("u", TensorType((36, channels, filters)))
    b.output("y", b.emit(WinogradConvolution(padding), x, u))
    return b.build()


def gradient_graph(channels: int, filters: int, padding: Pads, chunks: int) -> Graph:
    b = Builder("gradient")
    n, h, w = symbol("n"), symbol("h"), symbol("w")
    x = b.input("x", TensorType((n, h, w, channels)))
    (top, bottom), (left, right) = padding
    g = b.input("g", TensorType((n, h + (top + bottom - 2), w + (left + right - 2), filters)))
    b.output("u", b.emit(WinogradKernelGradient(padding, chunks), x, g))
    return b.build()


def transformed(kernel: Array) -> Array:
    """G g G^T, [36, channels, filters]."""
    result = np.einsum("ia,jb,abcf->ijcf", G, G, kernel.astype("float64"))
    return result.reshape(36, *kernel.shape[2:]).astype("float32")


def direct(x: Array, kernel: Array, padding: Pads, dtype: str = "float64") -> Array:
    """The definition, tap by tap and channel by channel, so that float32 sums are plain ones."""
    x = np.pad(x, ((0, 0), *padding, (0, 0))).astype(dtype)
    kernel = kernel.astype(dtype)
    height, width = x.shape[1] - 2, x.shape[2] - 2
    result = np.zeros((x.shape[0], height, width, kernel.shape[3]), dtype)
    for y in range(3):
        for column in range(3):
            part = x[:, y : y + height, column : column + width]
            if dtype == "float64":
                result += part @ kernel[y, column]
                continue
            for channel in range(x.shape[3]):
                result += part[..., channel, None] * kernel[y, column, channel]
    return result


def direct_gradient(x: Array, g: Array, padding: Pads) -> Array:
    x = np.pad(x, ((0, 0), *padding, (0, 0))).astype("float64")
    height, width = g.shape[1:3]
    taps = [np.tensordot(x[:, y : y + height, c : c + width], g, ([0, 1, 2], [0, 1, 2])) for y, c in np.ndindex(3, 3)]
    return np.stack(taps).reshape(3, 3, x.shape[3], g.shape[3])


def added(parts: Array) -> Array:
    """The sum of all parts."""
    return parts.astype("float64").reshape(-1, 3, *parts.shape[1:]).sum(0)


def check_convolution(compiled: Compiled, x: Array, kernel: Array, padding: Pads) -> Array:
    (result,) = compiled.executable.run([x, transformed(kernel)], [])
    scale = np.abs(x).max(initial=0) * np.abs(kernel).sum((0, 1, 2))
    exact = direct(x, kernel, padding)
    assert result.shape == exact.shape
    assert (np.abs(result - exact) <= BOUND * EPS * scale).all(), np.abs((result - exact) / (EPS * scale)).max()
    return result


def check_gradient(compiled: Compiled, x: Array, g: Array, padding: Pads) -> Array:
    (parts,) = compiled.executable.run([x, g], [])
    terms = g.shape[0] * -(-g.shape[1] // 4) * -(-g.shape[2] // 4) * 16
    scale = terms * np.abs(x).max() * np.abs(g).max()
    error = np.abs(added(parts) - direct_gradient(x, g, padding)).max()
    assert error <= BOUND * EPS * scale, error / (EPS * scale)
    return parts


def random_arrays(seed: int, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


LAYERS: list[tuple[int, int, Pads]] = [
    (16, 16, ((1, 1), (1, 1))),
    (17, 37, ((0, 0), (0, 0))),
    (33, 16, ((2, 0), (0, 1))),
    (64, 70, ((2, 2), (1, 2))),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 3), h=st.integers(1, 20), w=st.integers(1, 20), seed=st.integers(0, 99))
def test_convolutions_on_odd_shapes(layer: tuple[int, int, Pads], n: int, h: int, w: int, seed: int) -> None:
    channels, filters, padding = layer
    h, w = (max(extent, 3 - sum(pair)) for extent, pair in zip((h, w), padding, strict=True))
    x, kernel = random_arrays(seed, (n, h, w, channels), (3, 3, channels, filters))
    check_convolution(compile_graph(convolution_graph(channels, filters, padding)), x, kernel, padding)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 3), h=st.integers(1, 20), w=st.integers(1, 20), seed=st.integers(0, 99))
def test_kernel_gradients_on_odd_shapes(layer: tuple[int, int, Pads], n: int, h: int, w: int, seed: int) -> None:
    channels, filters, padding = layer
    h, w = (max(extent, 3 - sum(pair)) for extent, pair in zip((h, w), padding, strict=True))
    x, kernel = random_arrays(seed, (n, h, w, channels), (3, 3, channels, filters))
    g = random_arrays(seed + 1, direct(x, kernel, padding).shape)[0]
    check_gradient(compile_graph(gradient_graph(channels, filters, padding, chunks=3)), x, g, padding)


@pytest.mark.parametrize("sizes", [(5, 8, 8), (2, 32, 32), (3, 15, 15)], ids=str)
def test_known_sizes_block_their_lines(sizes: tuple[int, int, int]) -> None:
    padding = ((1, 1), (1, 1))
    x, kernel = random_arrays(7, (*sizes, 32), (3, 3, 32, 32))
    check_convolution(compile_graph(convolution_graph(32, 32, padding, sizes)), x, kernel, padding)


# Images, height and width, channels, filters; parts of lines and of filters, groups of lines.
SMALL_BATCHES = [
    ((1, 32, 32), 16, 16, (4, 1), 1),
    ((1, 16, 16), 32, 32, (2, 2), 1),
    ((1, 8, 8), 64, 64, (1, 4), 1),
    ((1, 30, 30), 32, 32, (2, 1), 2),
    ((1, 30, 30), 32, 40, (1, 2), 3),
    ((1, 15, 15), 24, 70, (1, 4), 1),
    ((1, 9, 4), 16, 40, (1, 2), 1),
    ((2, 30, 30), 32, 32, (1, 1), 4),
    ((5, 8, 8), 64, 64, (1, 3), 2),
    ((64, 8, 8), 64, 64, (1, 1), 16),
]


@pytest.mark.parametrize(("sizes", "channels", "filters", "parts", "groups"), SMALL_BATCHES, ids=str)
def test_few_groups_of_lines_are_cut_into_parts(
    sizes: tuple[int, int, int], channels: int, filters: int, parts: tuple[int, int], groups: int
) -> None:
    spec, target = ContractionSpec("winograd_convolution", "float32"), host_target()
    n = symbol("n")
    geometry = ConvolutionGeometry((n, *sizes[1:], channels), (3, 3, channels, filters), padding=((1, 1), (1, 1)))
    extents = extents_of(spec, geometry)
    values = {"n": sizes[0]}
    assert tuple(evaluate(extent, values) for extent in extents[10:12]) == parts
    assert evaluate(contraction_work(spec, extents, target), values) == groups * parts[0] * parts[1]
    whole = extents_of(spec, geometry, whole=True)
    assert evaluate(contraction_work(spec, whole, target), values) == groups


@pytest.mark.parametrize(("vector_bytes", "registers"), [(16, 16), (32, 16), (64, 32)])
@pytest.mark.parametrize(("sizes", "channels", "filters"), [case[:3] for case in SMALL_BATCHES[:-1]], ids=str)
def test_parts_make_up_the_whole_at_any_number_of_threads(
    sizes: tuple[int, int, int], channels: int, filters: int, vector_bytes: int, registers: int
) -> None:
    padding = ((1, 1), (1, 1))
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    n = symbol("n")
    compiled = compile_graph(convolution_graph(channels, filters, padding, (n, *sizes[1:])), target=target)
    x, kernel = random_arrays(9, (*sizes, channels), (3, 3, channels, filters))
    set_num_threads(1)
    alone = check_convolution(compiled, x, kernel, padding)
    for threads in (2, 3, 4):
        set_num_threads(threads)
        np.testing.assert_array_equal(compiled.executable.run([x, transformed(kernel)], [])[0], alone)


@pytest.mark.parametrize(("vector_bytes", "registers"), [(16, 16), (16, 32), (64, 32)])
def test_other_vector_widths(vector_bytes: int, registers: int) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    padding = ((1, 1), (0, 2))
    x, kernel = random_arrays(1, (2, 9, 14, 21), (3, 3, 21, 43))
    compiled = compile_graph(convolution_graph(21, 43, padding), target=target)
    check_convolution(compiled, x, kernel, padding)
    g = random_arrays(2, direct(x, kernel, padding).shape)[0]
    check_gradient(compile_graph(gradient_graph(21, 43, padding, 2), target=target), x, g, padding)


def test_the_same_bits_at_any_number_of_threads() -> None:
    padding = ((1, 1), (1, 1))
    x, kernel, g = random_arrays(3, (7, 15, 15, 19), (3, 3, 19, 40), (7, 15, 15, 40))
    forward = compile_graph(convolution_graph(19, 40, padding, (7, 15, 15)))
    backward = compile_graph(gradient_graph(19, 40, padding, 5))
    results = []
    for threads in (1, 2, 3, 4):
        set_num_threads(threads)
        results.append((forward.executable.run([x, transformed(kernel)], []), backward.executable.run([x, g], [])))
    for (y,), (parts,) in results[1:]:
        np.testing.assert_array_equal(y, results[0][0][0])
        np.testing.assert_array_equal(parts, results[0][1][0])


@pytest.mark.parametrize("channels", [16, 64])
def test_the_mean_error_is_a_small_multiple_of_that_of_direct_sums(channels: int) -> None:
    padding = ((1, 1), (1, 1))
    compiled = compile_graph(convolution_graph(channels, 32, padding))
    ratios = []
    for seed in range(3):
        x, kernel = random_arrays(seed, (4, 16, 16, channels), (3, 3, channels, 32))
        exact = direct(x, kernel, padding)
        (result,) = compiled.executable.run([x, transformed(kernel)], [])
        plain = direct(x, kernel, padding, "float32")
        ratios.append(np.sqrt(np.mean((result - exact) ** 2) / np.mean((plain - exact) ** 2)))
    assert max(ratios) <= MEAN_RATIO, ratios


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_every_result_it_has_a_product_with(bad: float, lanes: int) -> None:
    padding = ((1, 1), (1, 1))
    compiled = compile_graph(convolution_graph(16, 16, padding), target=target_with(lanes))
    x, kernel = random_arrays(4, (1, 12, 12, 16), (3, 3, 16, 16))
    for y, column in [(0, 0), (3, 4), (5, 5), (11, 7), (8, 11)]:
        dirty = x.copy()
        dirty[0, y, column, 5] = bad
        with np.errstate(invalid="ignore"):
            (result,) = compiled.executable.run([dirty, transformed(kernel)], [])
        wrong = ~np.isfinite(result[0]).all(-1)
        assert not np.isfinite(result[0, max(y - 1, 0) : y + 2, max(column - 1, 0) : column + 2]).any()
        # It spreads no further than the tiles that read it.
        rows, columns = ([tile for tile in range(3) if tile * 4 - 1 <= place < tile * 4 + 5] for place in (y, column))
        reached = np.zeros((12, 12), bool)
        for row in rows:
            for tile in columns:
                reached[row * 4 : row * 4 + 4, tile * 4 : tile * 4 + 4] = True
        assert not wrong[~reached].any()
    dirty_kernel = kernel.copy()
    dirty_kernel[1, 2, 3, 7] = bad
    with np.errstate(invalid="ignore"):
        (result,) = compiled.executable.run([x, transformed(dirty_kernel)], [])
    assert not np.isfinite(result[..., 7]).any()
    assert np.isfinite(np.delete(result, 7, -1)).all()


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_the_kernel_gradient(bad: float, lanes: int) -> None:
    padding = ((1, 1), (1, 1))
    compiled = compile_graph(gradient_graph(16, 16, padding, 2), target=target_with(lanes))
    x, g = random_arrays(5, (2, 9, 9, 16), (2, 9, 9, 16))
    for operand, place in ((0, (1, 4, 8, 3)), (1, (0, 8, 2, 6))):
        dirty = [x.copy(), g.copy()]
        dirty[operand][place] = bad
        (parts,) = compiled.executable.run(dirty, [])
        with np.errstate(invalid="ignore"):
            kernel = added(parts)
        column = (slice(None), slice(None), 3) if operand == 0 else (..., 6)
        assert not np.isfinite(kernel[column]).any()
        assert np.isfinite(np.delete(kernel, 3 if operand == 0 else 6, 2 + operand)).all()


def test_the_transforms_satisfy_the_identity_that_defines_them() -> None:
    # sum over p of A[i, p] G[p, k] B[p, m] is 1 where m = i + k, 0 elsewhere.
    product = np.einsum("ip,pk,pm->ikm", result_transform(), kernel_transform(), image_transform())
    expected = np.zeros((4, 3, 6))
    for i, k in np.ndindex(4, 3):
        expected[i, k, i + k] = 1
    np.testing.assert_allclose(product, expected, atol=1e-14)


def test_references_are_the_convolution_in_float64() -> None:
    padding = ((2, 0), (1, 1))
    rng = np.random.default_rng(8)
    x, kernel = rng.normal(size=(2, 7, 10, 16)), rng.normal(size=(3, 3, 16, 18))
    u = np.einsum("ia,jb,abcf->ijcf", G, G, kernel).reshape(36, 16, 18)
    (result,) = WinogradConvolution(padding).reference(x, u)
    exact = direct(x, kernel, padding)
    np.testing.assert_allclose(result, exact, rtol=1e-12, atol=1e-11)
    g = rng.normal(size=exact.shape)
    for chunks in (1, 3, 50):
        (parts,) = WinogradKernelGradient(padding, chunks).reference(x, g)
        np.testing.assert_allclose(added(parts), direct_gradient(x, g, padding), rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize(
    ("op", "shapes", "message"),
    [
        (OPS["winograd_convolution"](((1, 1), (1, 1))), [(1, 8, 8, 8), (36, 8, 16)], "at least 16 channels"),
        (OPS["winograd_convolution"](((1, 1), (1, 1))), [(1, 8, 8, 16), (36, 16, 8)], "at least 16 filters"),
        (OPS["winograd_convolution"](((1, 1), (1, 1))), [(1, 8, 8, 16), (16, 16, 16)], "points"),
        (OPS["winograd_convolution"](((1, 1), (1, 1))), [(1, 8, 8, 16), (36, 17, 16)], "channels of input"),
        (OPS["winograd_kernel_gradient"](((1, 1), (1, 1)), 2), [(1, 8, 8, 16), (1, 8, 7, 16)], "axis 2"),
        (OPS["winograd_kernel_gradient"](((1, 1), (1, 1)), 0), [(1, 8, 8, 16), (1, 8, 8, 16)], "chunks"),
    ],
)
def test_types_that_do_not_fit_are_refused(op: object, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        op.infer(*(TensorType(shape) for shape in shapes))  # type: ignore[attr-defined]


def test_scratch_is_a_polynomial_of_the_sizes() -> None:
    n, h, w = symbol("n"), symbol("h"), symbol("w")
    geometry = ConvolutionGeometry((n, h, w, 16), (3, 3, 16, 16), padding=((1, 1), (1, 1)), chunks=4)
    for kind in ("winograd_convolution", "winograd_kernel_gradient"):
        spec = ContractionSpec(kind, "float32")
        scratch = contraction_scratch(spec, extents_of(spec, geometry), host_target())
        assert "n" not in str(scratch).split(), "a thread's memory does not grow with the batch"
