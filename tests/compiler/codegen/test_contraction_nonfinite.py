"""NaN and infinity go where the mathematics sends them, and nowhere else; operands are read within their bounds."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from contraction_oracle import LANES, compile_kernel, matmul_oracle, run, target_with

from compiler.codegen.contraction import (
    ContractionSpec,
    ConvolutionGeometry,
    Geometry,
    MatmulGeometry,
    contraction_extents,
    contraction_scratch,
    contraction_work,
)
from compiler.target import host_target

Array = np.ndarray[Any, Any]


def run_at(spec: ContractionSpec, geometry: Geometry, addresses: Sequence[int]) -> None:
    """Run all the work on operands and output at the given addresses."""
    target = host_target()
    native, _ = compile_kernel(spec, target)
    extents = contraction_extents(spec, geometry)
    table = np.array(extents, np.int64)
    memory = np.full(int(contraction_scratch(spec, extents, target)) + 64, 0xFF, np.uint8)  # type: ignore[arg-type]
    scratch = memory.ctypes.data + -memory.ctypes.data % 64
    pointers = np.array(addresses, np.int64)
    results = (ctypes.c_int64 * 2)()
    work = int(contraction_work(spec, extents, target))  # type: ignore[arg-type]
    place = ctypes.addressof(results)
    native(place, place + 8, pointers.ctypes.data, table.ctypes.data, scratch, 0, work)


def products(kind: str, geometry: ConvolutionGeometry, first: Array, second: Array) -> Array:
    """The definition, product by product: taps in the padding do not exist."""
    images, height, width, _ = geometry.input_shape
    taps_y, taps_x, channels, filters = geometry.kernel_shape
    _, out_height, out_width, _ = geometry.output_shape
    result = np.zeros(
        {
            "convolution": geometry.output_shape,
            "convolution_input_gradient": geometry.input_shape,
            "convolution_kernel_gradient": geometry.kernel_shape,
        }[kind]
    )
    group_filters = filters // geometry.groups
    for place in np.ndindex(images, out_height, out_width, taps_y, taps_x, filters):
        image, out_y, out_x, tap_y, tap_x, f = place
        y = out_y * geometry.strides[0] + tap_y * geometry.dilation[0] - geometry.padding[0][0]
        x = out_x * geometry.strides[1] + tap_x * geometry.dilation[1] - geometry.padding[1][0]
        if not (0 <= y < height and 0 <= x < width):
            continue
        group = slice(f // group_filters * channels, (f // group_filters + 1) * channels)
        with np.errstate(invalid="ignore"):
            if kind == "convolution":
                result[image, out_y, out_x, f] += (first[image, y, x, group] * second[tap_y, tap_x, :, f]).sum()
            elif kind == "convolution_input_gradient":
                result[image, y, x, group] += first[image, out_y, out_x, f] * second[tap_y, tap_x, :, f]
            else:
                result[tap_y, tap_x, :, f] += first[image, y, x, group] * second[image, out_y, out_x, f]
    return result


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", ["convolution", "convolution_input_gradient", "convolution_kernel_gradient"])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_padding_makes_no_nan(kind: str, groups: int, which: int, bad: float, lanes: int) -> None:
    geometry = ConvolutionGeometry(
        (2, 7, 6, 2 * groups), (3, 3, 2, 5 * groups), (2, 1), ((1, 1), (2, 1)), (1, 2), groups
    )
    shapes = {
        "convolution": (geometry.input_shape, geometry.kernel_shape),
        "convolution_input_gradient": (geometry.output_shape, geometry.kernel_shape),
        "convolution_kernel_gradient": (geometry.input_shape, geometry.output_shape),
    }[kind]
    random = np.random.default_rng(0)
    operands = [random.standard_normal(shape).astype(np.float32) for shape in shapes]
    for index in (0, -1):  # a corner of the image or of the kernel
        operands[which].flat[index] = bad
    expected = products(kind, geometry, *(operand.astype(np.float64) for operand in operands))
    spec = ContractionSpec(kind, "float32")
    result = run(spec, geometry, operands, expected.shape, target=target_with(lanes))
    assert not np.isfinite(expected).all(), "the case is meant to show a bad value"
    assert np.isfinite(expected).any(), "the case is meant to show untouched values"
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lanes", LANES)
def test_a_checked_sum_equals_the_unchecked_one_elsewhere(lanes: int) -> None:
    geometry = ConvolutionGeometry((1, 12, 12, 4), (3, 3, 4, 20), padding=((1, 1), (1, 1)))
    random = np.random.default_rng(0)
    x = random.standard_normal(geometry.input_shape).astype(np.float32)
    kernel = random.standard_normal(geometry.kernel_shape).astype(np.float32)
    spec, target = ContractionSpec("convolution", "float32"), target_with(lanes)
    finite = run(spec, geometry, (x, kernel), geometry.output_shape, target=target)
    kernel[0, 0, 0, 0] = np.nan
    checked = run(spec, geometry, (x, kernel), geometry.output_shape, target=target)
    np.testing.assert_allclose(checked[..., 1:], finite[..., 1:], rtol=1e-4, atol=1e-5)
    assert np.isnan(checked[0, 1:, 1:, 0]).all()
    assert np.isfinite(checked[0, 0, :, 0]).all(), "the first row never meets the kernel's first row"


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("transposes", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("rows", [1, 2, 3, 13, 70])  # one and two have a kernel of their own, as has a packed b
@pytest.mark.parametrize("columns", [10, 53])
def test_matmul_keeps_bad_values_in_their_row_and_column(
    rows: int, columns: int, transposes: tuple[bool, bool], lanes: int
) -> None:
    random = np.random.default_rng(0)
    spec = ContractionSpec("matmul", "float32", *transposes)
    a, b = (random.standard_normal(shape).astype(np.float32) for shape in ((1, rows, 9), (1, 9, columns)))
    for row, column, (in_a, in_b) in (
        (0, columns - 1, (np.inf, np.nan)),
        (rows - 1, 0, (np.nan, -np.inf)),
        (rows // 2, 7, (-np.inf, np.inf)),
    ):
        left, right = a.copy(), b.copy()
        left[0, row, 8], right[0, 3, column] = in_a, in_b
        operands = [
            np.ascontiguousarray(array.swapaxes(1, 2) if transposed else array)
            for array, transposed in zip((left, right), transposes, strict=True)
        ]
        result = run(spec, MatmulGeometry(rows, 9, columns), operands, (1, rows, columns), target=target_with(lanes))
        with np.errstate(invalid="ignore"):
            expected = matmul_oracle(operands[0], operands[1], spec)
        assert not np.isfinite(expected[0, row]).any()
        assert not np.isfinite(expected[0, :, column]).any()
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


class GuardedMemory:
    """Memory whose last byte is followed by a page that may not be touched."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        whole = -(-size // page) * page
        self.map = mmap.mmap(-1, whole + page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        library = ctypes.CDLL(None, use_errno=True)
        assert library.mprotect(ctypes.c_void_p(start + whole), ctypes.c_size_t(page), 0) == 0
        self.address = start + whole - size

    def hold(self, array: Array) -> None:
        ctypes.memmove(self.address, array.ctypes.data, array.nbytes)


@pytest.mark.skipif(sys.platform != "linux", reason="uses mprotect")
@pytest.mark.parametrize(
    ("spec", "geometry", "sizes"),
    [
        (ContractionSpec("matmul", "float32", a, b), MatmulGeometry(11, 13, 21), (143, 273, 231))
        for a in (False, True)
        for b in (False, True)
    ]
    + [
        (
            ContractionSpec(kind, "float32"),
            ConvolutionGeometry((2, 5, 7, 3), (3, 2, 3, 9), padding=((1, 0), (0, 1))),
            sizes,
        )
        for kind, sizes in (
            ("convolution", (210, 162, 504)),
            ("convolution_input_gradient", (504, 162, 210)),
            ("convolution_kernel_gradient", (210, 504, 162)),
        )
    ]
    + [
        (
            ContractionSpec(kind, "float32"),
            ConvolutionGeometry((2, 5, 7, 11), (3, 2, 1, 22), padding=((1, 0), (0, 1)), groups=11),
            sizes,
        )
        for kind, sizes in (
            ("depthwise", (770, 132, 1232)),
            ("depthwise_input_gradient", (1232, 132, 770)),
            ("depthwise_kernel_gradient", (770, 1232, 132)),
        )
    ]
    + [
        (ContractionSpec("matmul", "float32", narrow=True), MatmulGeometry(11, 13, 3), (143, 39, 33)),
        (
            ContractionSpec("convolution", "float32", narrow=True),
            ConvolutionGeometry((2, 5, 7, 16), (3, 2, 16, 3), padding=((1, 0), (0, 1))),
            (1120, 288, 168),
        ),
        (
            ContractionSpec("winograd_convolution", "float32"),
            ConvolutionGeometry((2, 5, 7, 17), (3, 3, 17, 19), padding=((1, 1), (1, 0))),
            (1190, 36 * 17 * 19, 1140),
        ),
        (
            ContractionSpec("winograd_kernel_gradient", "float32"),
            ConvolutionGeometry((2, 5, 7, 17), (3, 3, 17, 19), padding=((1, 1), (1, 0)), chunks=2),
            (1190, 1140, 2 * 9 * 17 * 19),
        ),
    ],
    ids=str,
)
def test_no_operand_is_touched_past_its_end(spec: Any, geometry: Any, sizes: tuple[int, ...]) -> None:
    """A read or write past an end kills the process."""
    if isinstance(geometry, ConvolutionGeometry):
        assert int(np.prod(geometry.output_shape)) in sizes
    memories = [GuardedMemory(4 * size) for size in sizes]
    for memory, size in zip(memories, sizes, strict=True):
        memory.hold(np.ones(size, np.float32))
    run_at(spec, geometry, [memory.address for memory in memories])
