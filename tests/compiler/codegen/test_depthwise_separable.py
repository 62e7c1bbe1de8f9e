"""Separable convolutions against a float64 oracle: any window, channels and filters, width of vectors, cut of work."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from codegen.test_contraction_nonfinite import products
from contraction_oracle import Array, run, windows
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.codegen.contraction import (
    Epilogue,
    contraction_extents,
    contraction_scratch,
    contraction_work,
    plain_epilogue,
)
from compiler.codegen.microkernel_tile import choose_tile
from compiler.contractions import ContractionSpec, ConvolutionGeometry, SeparableGeometry
from compiler.target import Target, host_target
from runtime.dimensions import symbol

SAME = ((1, 1), (1, 1))
OUTPUT = 5  # behind five operands


@functools.cache  # so that each specification is compiled once
def stored(dtype: str) -> Epilogue:
    return plain_epilogue(dtype, OUTPUT)


def depthwise(
    shape: tuple[int, int, int, int],
    size: tuple[int, int] = (3, 3),
    strides: tuple[int, int] = (1, 1),
    padding: Any = SAME,
    dilation: tuple[int, int] = (1, 1),
) -> ConvolutionGeometry:
    return ConvolutionGeometry(shape, (*size, 1, shape[3]), strides, padding, dilation, shape[3])


def operands(geometry: SeparableGeometry, dtype: str, seed: int) -> list[Array]:
    """x, kernel of the 1x1 convolution, depthwise kernel, and what follows each."""
    random = np.random.default_rng(seed)
    first = geometry.depthwise
    channels, filters = first.groups, geometry.filters
    shapes = (first.input_shape, (channels, filters), first.kernel_shape)
    return [
        *(random.standard_normal(shape).astype(dtype) for shape in shapes),
        *(finish(random, count).astype(dtype) for count in (channels, filters)),
    ]


def finish(random: np.random.Generator, count: int) -> Array:
    """Scale, shift, low and high; some bounds are infinite."""
    low, high = random.uniform(-1, 0, count), random.uniform(1, 4, count)
    low[random.random(count) < 0.3] = -np.inf
    high[random.random(count) < 0.5] = np.inf
    return np.stack([random.normal(size=count), random.normal(size=count), low, high])


def panels(kernel: Array, columns: int) -> Array:
    channels, filters = kernel.shape
    count = -(-filters // columns)
    padded = np.zeros((channels, count * columns), kernel.dtype)
    padded[:, :filters] = kernel
    return np.ascontiguousarray(padded.reshape(channels, count, columns).transpose(1, 0, 2))


def finished(y: Array, rows: Array) -> Array:
    scale, shift, low, high = rows.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.minimum(np.maximum(y * scale + shift, low), high)


def tap_by_tap(geometry: ConvolutionGeometry, x: Array, weights: Array) -> Array:
    padded = np.pad(x, ((0, 0), *geometry.padding, (0, 0)))
    return np.sum([padded[place] * weights[row, column, 0] for row, column, place in windows(geometry)], 0)


def evaluate(geometry: SeparableGeometry, arrays: list[Array]) -> tuple[Array, Array]:
    """The result in float64, and how far from it a float32 evaluation may be, in units of the last place."""
    x, kernel, weights, between, behind = (array.astype(np.float64) for array in arrays)
    first = geometry.depthwise
    sums, spread = tap_by_tap(first, x, weights), tap_by_tap(first, np.abs(x), np.abs(weights))
    middle = finished(sums, between)
    taps, channels = weights.shape[0] * weights.shape[1], first.groups
    # Each rounding of a sum of products, and of the multiply-add behind it; bounds enlarge no error.
    error = (taps + 2) * (spread * np.abs(between[0]) + np.abs(between[1]))
    of_product = error @ np.abs(kernel) + (channels + 2) * (np.abs(middle) @ np.abs(kernel))
    return finished(middle @ kernel, behind), of_product * np.abs(behind[0]) + 2 * np.abs(behind[1])


def check_separable(
    geometry: SeparableGeometry, dtype: str = "float32", target: Target | None = None, **options: Any
) -> None:
    arrays = operands(geometry, dtype, seed=hash(geometry) % 1000)
    exact, error = evaluate(geometry, arrays)
    tile = choose_tile(dtype, target or host_target())
    given = [arrays[0], panels(arrays[1], tile.columns), *arrays[2:]]
    results = []
    for direct in {False, exact.shape[-1] % tile.columns == 0}:
        spec = ContractionSpec("separable_convolution", dtype, direct=direct)
        for cuts in ((), (0.3, 0.4, 0.9)):
            options["epilogue"] = stored(dtype)
            results.append(run(spec, geometry, given, exact.shape, cuts=cuts, target=target, **options))
    assert (np.abs(results[0] - exact) <= np.finfo(dtype).eps * error).all()
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0], "where the work is cut must not change a bit")


@st.composite
def geometries(draw: st.DrawFn) -> SeparableGeometry:
    channels = draw(st.integers(2, 40) | st.sampled_from([64, 70]))
    small, padding = st.integers(1, 3), st.integers(0, 4)
    first = depthwise(
        (draw(small), draw(st.integers(1, 20)), draw(st.integers(1, 34)), channels),
        (draw(st.integers(1, 4)), draw(st.integers(1, 5))),
        (draw(small), draw(small)),
        ((draw(padding), draw(padding)), (draw(padding), draw(padding))),
        (draw(small), draw(small)),
    )
    assume(min(first.output_shape) > 0)  # type: ignore[type-var]
    return SeparableGeometry(first, draw(st.integers(1, 40) | st.sampled_from([16, 48, 70])))


@given(geometry=geometries())
@settings(max_examples=40, deadline=None)
def test_any_window_and_number_of_channels(geometry: SeparableGeometry) -> None:
    check_separable(geometry)


@pytest.mark.parametrize(
    "geometry",
    [
        SeparableGeometry(depthwise((3, 32, 32, 32)), 64),
        SeparableGeometry(depthwise((2, 33, 31, 64), strides=(2, 2), padding=((0, 1), (1, 1))), 128),
        SeparableGeometry(depthwise((5, 8, 8, 256)), 256),
        SeparableGeometry(depthwise((40, 4, 4, 24)), 16),
        SeparableGeometry(depthwise((2, 1, 600, 17), (1, 7), padding=((0, 0), (6, 0))), 1),
        SeparableGeometry(depthwise((1, 3, 3, 1100), (2, 2), (3, 3)), 50),
    ],
    ids=str,
)
def test_layer_shapes(geometry: SeparableGeometry) -> None:
    check_separable(geometry)


@pytest.mark.parametrize(
    ("dtype", "vector_bytes", "registers"),
    [("float32", 16, 16), ("float32", 32, 16), ("float64", 32, 16), ("float32", 64, 32)],
)
def test_every_width_of_vectors(dtype: str, vector_bytes: int, registers: int) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    for channels, filters in ((40, 96), (19, 21)):
        first = depthwise((2, 9, 18, channels), (3, 2), (2, 1), ((1, 1), (0, 2)))
        check_separable(SeparableGeometry(first, filters), dtype, target)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_nan_and_infinity_meet_what_the_mathematics_says_and_no_padding(which: int, bad: float) -> None:
    filters = choose_tile("float32", host_target()).columns  # whole panels, as `direct` asks
    geometry = SeparableGeometry(depthwise((2, 7, 6, 9), strides=(2, 1), padding=((1, 1), (2, 1))), filters)
    arrays = operands(geometry, "float32", 0)
    for rows in arrays[3:]:
        rows[2:] = [[-np.inf], [np.inf]]  # bounds would hold an infinity back
    for index in (0, -1):
        arrays[which].flat[index] = bad
    with np.errstate(invalid="ignore"):
        sums = products("convolution", geometry.depthwise, arrays[0], arrays[2])
        exact = finished(finished(sums, arrays[3]) @ arrays[1].astype(np.float64), arrays[4])
    given = [arrays[0], panels(arrays[1], filters), *arrays[2:]]
    for direct in (False, True):
        spec = ContractionSpec("separable_convolution", "float32", direct=direct)
        result = run(spec, geometry, given, exact.shape, epilogue=stored("float32"))
        np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-4)
        assert not np.isfinite(result).all()
        assert np.isfinite(result).any()


def test_nan_passes_the_bounds() -> None:
    filters = choose_tile("float32", host_target()).columns
    geometry = SeparableGeometry(depthwise((1, 5, 5, 8)), filters)
    arrays = operands(geometry, "float32", 0)
    for rows in arrays[3:]:
        rows[2:] = [[0.0], [6.0]]
    arrays[0][0, 2, 2, 3] = np.nan
    given = [arrays[0], panels(arrays[1], filters), *arrays[2:]]
    spec = ContractionSpec("separable_convolution", "float32", direct=True)
    result = run(spec, geometry, given, (1, 5, 5, filters), epilogue=stored("float32"))
    expected = np.zeros((5, 5), bool)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(np.isnan(result[0]), np.repeat(expected[:, :, None], filters, 2))


def test_symbolic_extents_run_any_size() -> None:
    batch, size = symbol("batch"), symbol("size")
    wide = ConvolutionGeometry((batch, size, size, 12), (3, 3, 1, 12), (2, 1), SAME, groups=12)
    for images, extent in ((1, 5), (4, 19), (2, 70)):
        bound = SeparableGeometry(depthwise((images, extent, extent, 12), strides=(2, 1)), 20)
        arrays = operands(bound, "float32", 0)
        exact, error = evaluate(bound, arrays)
        given = [arrays[0], panels(arrays[1], choose_tile("float32", host_target()).columns), *arrays[2:]]
        spec = ContractionSpec("separable_convolution", "float32")
        sizes, epilogue = {"batch": images, "size": extent}, stored("float32")
        result = run(spec, SeparableGeometry(wide, 20), given, exact.shape, sizes=sizes, epilogue=epilogue)
        assert (np.abs(result - exact) <= np.finfo("float32").eps * error).all()


@pytest.mark.parametrize(("channels", "filters"), [(8, 8), (32, 64), (256, 256), (512, 1024)])
def test_there_is_work_for_four_threads_and_what_lies_between_stays_in_the_cache(channels: int, filters: int) -> None:
    spec = ContractionSpec("separable_convolution", "float32")
    extents = contraction_extents(spec, SeparableGeometry(depthwise((64, 14, 14, channels)), filters))
    work = contraction_work(spec, extents, host_target())
    scratch = contraction_scratch(spec, extents, host_target())
    assert isinstance(work, int)
    assert work >= 4
    assert isinstance(scratch, int)
    assert scratch < 512 * 1024  # the second-level cache
