"""Contractions against float64 oracles: every kind, odd sizes, every transpose, stride, dilation and group."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numba import njit, types

from compiler.codegen.contraction import (
    ContractionSpec,
    ConvolutionGeometry,
    Epilogue,
    Geometry,
    MatmulGeometry,
    contraction_extents,
    contraction_scratch,
    contraction_source,
    contraction_work,
    extent_count,
    plain_epilogue,
)
from compiler.codegen.contraction_assembly import make_pointer
from compiler.target import Target, host_target
from runtime.dimensions import evaluate, symbol

Array = np.ndarray[Any, Any]

SIGNATURE = types.void(types.CPointer(types.int64), types.CPointer(types.int64), types.int64, types.int64, types.int64)
NATIVE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3)
CONVOLUTIONS = ("convolution", "convolution_input_gradient", "convolution_kernel_gradient")
GUARD = 256
CANARY = 0x5A


@functools.cache
def compile_kernel(spec: ContractionSpec, target: Target, epilogue: Epilogue | None = None) -> Any:
    """The kernel's native entry; the compilation that keeps it alive comes with it."""
    source = contraction_source(spec, target, epilogue or plain_epilogue(spec.dtype))
    namespace = dict(source.namespace)
    exec(source.source, namespace)
    kernel = njit(
        SIGNATURE,
        nogil=True,
        error_model="numpy",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        fastmath={"nsz", "contract", "reassoc", "arcp"},
    )(namespace["kernel"])
    (compiled,) = kernel.overloads.values()
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return NATIVE(address), compiled


def run(
    spec: ContractionSpec,
    geometry: Geometry,
    operands: Sequence[Array],
    shape: tuple[int, ...],
    *,
    cuts: Sequence[float] = (),
    target: Target | None = None,
    epilogue: Epilogue | None = None,
    more_extents: Sequence[int] = (),
    sizes: dict[str, int] | None = None,
) -> Array:
    """Run a contraction, its work cut at the given fractions, in scratch full of NaN with guards around it."""
    target = target or host_target()
    native, _ = compile_kernel(spec, target, epilogue)
    dims = contraction_extents(spec, geometry)
    extents = [evaluate(dim, sizes or {}) for dim in dims]
    scratch = evaluate(contraction_scratch(spec, dims, target), sizes or {})
    work = evaluate(contraction_work(spec, dims, target), sizes or {})
    output = np.full(shape, 7e7, spec.dtype)
    arrays = [np.ascontiguousarray(operand) for operand in operands] + [output]
    pointers = np.array([array.ctypes.data for array in arrays], np.int64)
    table = np.array([*extents, *more_extents], np.int64)
    assert len(extents) == extent_count(spec)
    memory = np.full(scratch + 64 + 2 * GUARD, 0xFF, np.uint8)
    start = GUARD + -(memory.ctypes.data + GUARD) % 64
    memory[:start] = CANARY
    memory[start + scratch :] = CANARY
    places = [0, *sorted(int(cut * work) for cut in cuts), work]
    for begin, end in itertools.pairwise(places):
        results = (ctypes.c_int64 * 2)()  # the callee stores its (empty) result and may name an exception
        status = native(
            ctypes.addressof(results),
            ctypes.addressof(results) + 8,
            pointers.ctypes.data,
            table.ctypes.data,
            memory.ctypes.data + start,
            begin,
            end,
        )
        assert status == 0
    assert (memory[:start] == CANARY).all(), "wrote before the scratch"
    assert (memory[start + scratch :] == CANARY).all(), "wrote past the scratch"
    return output


def check(result: Array, oracle: Array, magnitude: Array, depth: int) -> None:
    """Within the rounding that a sum of `depth` products may have (Higham 2002, section 3.5)."""
    unit = np.finfo(result.dtype).eps
    assert (np.abs(result - oracle) <= (depth + 2) * unit * magnitude + 1e-300).all()


def matmul_oracle(a: Array, b: Array, spec: ContractionSpec) -> Array:
    left = a.swapaxes(1, 2) if spec.transpose_a else a
    right = b.swapaxes(1, 2) if spec.transpose_b else b
    return np.matmul(left.astype(np.float64), right.astype(np.float64))


def windows(geometry: ConvolutionGeometry) -> list[tuple[int, int, tuple[slice, ...]]]:
    """For each tap, the slice of the padded input that it meets."""
    _, height, width, _ = geometry.output_shape
    result = []
    for y in range(geometry.kernel_shape[0]):
        for x in range(geometry.kernel_shape[1]):
            slices = [slice(None)]
            for tap, size, stride, dilation in zip(
                (y, x), (height, width), geometry.strides, geometry.dilation, strict=True
            ):
                first = tap * dilation
                slices.append(slice(first, first + (size - 1) * stride + 1, stride))
            result.append((y, x, tuple(slices)))
    return result


def convolution_oracle(kind: str, geometry: ConvolutionGeometry, first: Array, second: Array) -> Array:
    """Tap by tap and group by group over the padded input, in float64."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    images, height, width, channels = geometry.input_shape
    filters, groups = geometry.kernel_shape[3], geometry.groups
    group_channels, group_filters = channels // groups, filters // groups
    (top, bottom), (left, right) = geometry.padding
    padded = np.zeros((images, height + top + bottom, width + left + right, channels))
    inside = padded[:, top : top + height, left : left + width]
    if kind != "convolution_input_gradient":
        inside[...] = first
    result = np.zeros(geometry.output_shape)
    kernel_gradient = np.zeros(geometry.kernel_shape)
    for y, x, place in windows(geometry):
        for group in range(groups):
            c = slice(group * group_channels, (group + 1) * group_channels)
            f = slice(group * group_filters, (group + 1) * group_filters)
            if kind == "convolution":
                result[..., f] += padded[place][..., c] @ second[y, x, :, f]
            elif kind == "convolution_input_gradient":
                padded[place][..., c] += first[..., f] @ second[y, x, :, f].T
            else:
                kernel_gradient[y, x, :, f] = np.tensordot(
                    padded[place][..., c], second[..., f], ([0, 1, 2], [0, 1, 2])
                )
    return {"convolution": result, "convolution_input_gradient": inside}.get(kind, kernel_gradient)


def convolution_operands(kind: str, geometry: ConvolutionGeometry, dtype: str, seed: int) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    shapes = {
        "convolution": (geometry.input_shape, geometry.kernel_shape),
        "convolution_input_gradient": (geometry.output_shape, geometry.kernel_shape),
        "convolution_kernel_gradient": (geometry.input_shape, geometry.output_shape),
    }[kind]
    first, second = (random.standard_normal(shape).astype(dtype) for shape in shapes)
    return first, second


def check_convolution(kind: str, geometry: ConvolutionGeometry, dtype: str = "float32", **options: Any) -> None:
    spec = ContractionSpec(kind, dtype)  # type: ignore[arg-type]
    first, second = convolution_operands(kind, geometry, dtype, seed=hash(geometry) % 1000)
    oracle = convolution_oracle(kind, geometry, first, second)
    magnitude = convolution_oracle(kind, geometry, np.abs(first), np.abs(second))
    depth = {
        "convolution": int(np.prod(geometry.kernel_shape[:3])),
        "convolution_input_gradient": int(np.prod(geometry.kernel_shape[:2])) * geometry.kernel_shape[3],
        "convolution_kernel_gradient": int(np.prod(geometry.output_shape[:3])),
    }[kind]
    result = run(spec, geometry, (first, second), oracle.shape, **options)
    check(result, oracle, magnitude, depth)
    parts = run(spec, geometry, (first, second), oracle.shape, cuts=(0.3, 0.4, 0.9), **options)
    np.testing.assert_array_equal(result, parts, "where the work is cut must not change a bit")


@st.composite
def matmul_geometries(draw: st.DrawFn) -> MatmulGeometry:
    size = st.integers(1, 20) | st.sampled_from([33, 64, 97])
    rows, columns = draw(size), draw(size | st.sampled_from([400, 784]))
    depth = draw(size | st.sampled_from([256, 257, 600]))
    batch = draw(st.integers(1, 3))
    return MatmulGeometry(rows, depth, columns, batch, draw(st.booleans()), draw(st.booleans()))


@st.composite
def convolution_geometries(draw: st.DrawFn) -> ConvolutionGeometry:
    small, groups = st.integers(1, 3), draw(st.sampled_from([1, 1, 2, 3]))
    taps = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    channels, filters = draw(st.integers(1, 9)), draw(st.integers(1, 20))
    padding = st.integers(0, 3)
    geometry = ConvolutionGeometry(
        (draw(small), draw(st.integers(1, 22)), draw(st.integers(1, 22)), channels * groups),
        (*taps, channels, filters * groups),
        strides=draw(st.tuples(small, small)),
        padding=draw(st.just(((0, 0), (0, 0))) | st.tuples(*[st.tuples(padding, padding)] * 2)),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
    )
    assume(min(geometry.output_shape) > 0)
    return geometry


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@given(geometry=matmul_geometries(), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_matmul_is_the_product(transpose_a: bool, transpose_b: bool, geometry: MatmulGeometry, seed: int) -> None:
    check_matmul(geometry, ContractionSpec("matmul", "float32", transpose_a, transpose_b), seed)


def check_matmul(geometry: Any, spec: ContractionSpec, seed: int = 0, target: Target | None = None) -> None:
    random = np.random.default_rng(seed)
    g = geometry
    a_shape = (g.depth, g.rows) if spec.transpose_a else (g.rows, g.depth)
    b_shape = (g.columns, g.depth) if spec.transpose_b else (g.depth, g.columns)
    a = random.standard_normal((g.batch if g.a_batched else 1, *a_shape)).astype(spec.dtype)
    b = random.standard_normal((g.batch if g.b_batched else 1, *b_shape)).astype(spec.dtype)
    shape = (g.batch, g.rows, g.columns)
    result = run(spec, geometry, (a, b), shape, target=target)
    check(result, matmul_oracle(a, b, spec), matmul_oracle(np.abs(a), np.abs(b), spec), g.depth)
    parts = run(spec, geometry, (a, b), shape, target=target, cuts=(0.2, 0.5, 0.8))
    np.testing.assert_array_equal(result, parts, "where the work is cut must not change a bit")


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@given(geometry=convolution_geometries())
@settings(max_examples=60, deadline=None)
def test_convolutions_on_odd_shapes(kind: str, geometry: ConvolutionGeometry) -> None:
    check_convolution(kind, geometry)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize(
    "geometry",
    [
        ConvolutionGeometry((3, 32, 32, 16), (3, 3, 16, 32), padding=((1, 1), (1, 1))),
        ConvolutionGeometry((3, 8, 8, 64), (3, 3, 64, 64), padding=((1, 1), (1, 1))),
        ConvolutionGeometry((5, 28, 28, 1), (3, 3, 1, 32)),
        ConvolutionGeometry((2, 32, 32, 16), (1, 1, 16, 32), strides=(2, 2)),
        ConvolutionGeometry((2, 33, 31, 3), (7, 7, 3, 24), strides=(2, 2), padding=((2, 3), (3, 3))),
        ConvolutionGeometry((40, 4, 4, 8), (3, 3, 8, 16), padding=((1, 1), (1, 1))),
        ConvolutionGeometry((1, 1, 90, 6), (1, 5, 6, 10), padding=((0, 0), (4, 0)), dilation=(1, 2)),
    ],
    ids=str,
)
def test_convolutions_on_layer_shapes(kind: str, geometry: ConvolutionGeometry) -> None:
    check_convolution(kind, geometry)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_in_float64(kind: str) -> None:
    check_convolution(kind, ConvolutionGeometry((3, 9, 11, 5), (3, 2, 5, 13), (1, 2), ((1, 0), (1, 1))), "float64")


@pytest.mark.parametrize("transposes", [(False, False), (True, True)])
def test_matmul_in_float64(transposes: tuple[bool, bool]) -> None:
    check_matmul(MatmulGeometry(29, 531, 37), ContractionSpec("matmul", "float64", *transposes))


TARGETS = [(16, 16), (16, 32), (32, 16), (64, 32)]


@pytest.mark.parametrize(("vector_bytes", "registers"), TARGETS)
@pytest.mark.parametrize("transposes", [(False, False), (False, True), (True, False)])
def test_every_tile_shape(vector_bytes: int, registers: int, transposes: tuple[bool, bool]) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, registers)
    spec = ContractionSpec("matmul", "float32", *transposes)
    for rows in (1, 2, 3, 5, 8, 14, 29, 71):
        check_matmul(MatmulGeometry(rows, 83, 301), spec, target=target)


@pytest.mark.parametrize("vector_bytes", [16, 64])
def test_convolutions_at_other_widths(vector_bytes: int) -> None:
    host = host_target()
    target = Target("cpu", host.cpu, host.features, vector_bytes, 32)
    geometry = ConvolutionGeometry((2, 9, 10, 5), (3, 3, 5, 20), (2, 1), ((1, 1), (0, 2)))
    check_convolution("convolution_kernel_gradient", geometry, target=target)


def test_symbolic_extents_run_any_size() -> None:
    batch, size = symbol("batch"), symbol("size")
    random = np.random.default_rng(3)
    spec = ContractionSpec("convolution", "float32")
    for images, height in ((1, 5), (4, 19)):
        geometry = ConvolutionGeometry((batch, size, size, 3), (3, 3, 3, 7), padding=((1, 1), (1, 1)))
        bound = ConvolutionGeometry((images, height, height, 3), (3, 3, 3, 7), padding=((1, 1), (1, 1)))
        x, kernel = convolution_operands("convolution", bound, "float32", 0)
        sizes = {"batch": images, "size": height}
        result = run(spec, geometry, (x, kernel), bound.output_shape, sizes=sizes)
        np.testing.assert_allclose(result, convolution_oracle("convolution", bound, x, kernel), rtol=1e-4, atol=1e-4)
    gradient = ContractionSpec("matmul", "float32", transpose_a=True)
    for images in (1, 7, 300):
        a = random.standard_normal((1, images, 30)).astype(np.float32)
        b = random.standard_normal((1, images, 10)).astype(np.float32)
        result = run(gradient, MatmulGeometry(30, batch, 10), (a, b), (1, 30, 10), sizes={"batch": images})
        np.testing.assert_allclose(result, matmul_oracle(a, b, gradient), rtol=1e-3, atol=1e-3)


def test_an_empty_sum_is_zero() -> None:
    spec = ContractionSpec("matmul", "float32")
    result = run(spec, MatmulGeometry(3, 0, 5), (np.zeros((3, 0)), np.zeros((0, 5))), (3, 5))
    np.testing.assert_array_equal(result, np.zeros((3, 5)))


def test_an_epilogue_reads_operands_and_extents() -> None:
    pointer = make_pointer("float32")
    count = extent_count(ContractionSpec("matmul", "float32"))
    epilogue = Epilogue(
        body=lambda value, row, column: (
            f"v0 = {value} + p2[{column}] + p3[({row} // e0) * output_columns + {column}]",
            f"p4[{row} * output_columns + {column}] = max(v0, zero)",
        ),
        prelude=(
            "p2 = pointer(pointers[2])",
            "p3 = pointer(pointers[3])",
            "p4 = pointer(pointers[4])",
            f"e0 = extents[{count}]",
        ),
        namespace={"pointer": pointer, "zero": np.float32(0)},
    )
    random = np.random.default_rng(1)
    a, b, bias, shared = (
        random.standard_normal(shape).astype(np.float32) for shape in ((24, 9), (9, 21), (21,), (8, 21))
    )
    spec = ContractionSpec("matmul", "float32")
    result = run(spec, MatmulGeometry(24, 9, 21), (a, b, bias, shared), (24, 21), epilogue=epilogue, more_extents=[3])
    oracle = np.maximum(a.astype(np.float64) @ b + bias + np.repeat(shared, 3, axis=0), 0)
    np.testing.assert_allclose(result, oracle, rtol=1e-4, atol=1e-5)


def test_a_specification_refuses_what_no_kernel_computes() -> None:
    with pytest.raises(ValueError, match="float32 or float64, got 'float16'"):
        ContractionSpec("matmul", "float16")
    with pytest.raises(ValueError, match="transpose_a and transpose_b are for matmul only"):
        ContractionSpec("convolution", "float32", transpose_a=True)
    with pytest.raises(ValueError, match="takes a ConvolutionGeometry"):
        contraction_extents(ContractionSpec("convolution", "float32"), MatmulGeometry(1, 1, 1))
    with pytest.raises(ValueError, match="at least 1"):
        ConvolutionGeometry((1, 4, 4, 1), (1, 1, 1, 1), strides=(0, 1))
