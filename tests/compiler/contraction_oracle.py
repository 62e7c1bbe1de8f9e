"""How tests of contractions run a kernel, and their float64 oracles."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit, types

from compiler.codegen.contraction import (
    ContractionSpec,
    ConvolutionGeometry,
    Epilogue,
    Geometry,
    contraction_extents,
    contraction_keeps,
    contraction_scratch,
    contraction_source,
    contraction_work,
    extent_count,
    plain_epilogue,
    specialised,
)
from compiler.codegen.microkernel_tile import choose_tile
from compiler.target import Target, host_target
from runtime.dimensions import evaluate
from runtime.program import CONTINUED

Array = np.ndarray[Any, Any]

SIGNATURE = types.void(types.CPointer(types.int64), types.CPointer(types.int64), types.int64, types.int64, types.int64)
NATIVE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3)
CONVOLUTIONS = ("convolution", "convolution_input_gradient", "convolution_kernel_gradient")
LANES = (4, 8, 16)  # of float32, in a vector register of the machines there are
GUARD = 256
CANARY = 0x5A


def target_with(lanes: int) -> Target:
    """This machine with vectors of another width: LLVM splits or narrows them."""
    host = host_target()
    return Target("cpu", host.cpu, host.features, 4 * lanes, 32 if lanes == 16 else 16)


@functools.cache
def compile_kernel(spec: ContractionSpec, target: Target, epilogue: Epilogue | None = None) -> Any:
    """The kernel's native entry; the compilation that keeps it alive comes with it."""
    source = contraction_source(spec, target, epilogue or plain_epilogue(spec.dtype, narrow=spec.narrow))
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
    """Run a contraction, its work cut at the given fractions, in scratch full of NaN with guards around it.

    Calls begin anew; then, if the kernel keeps its scratch, all once more, each going on with what the one before left
    there: not a bit may differ.
    """
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
    places = [0, *sorted({int(cut * work) for cut in cuts} - {0, work}), work]

    def call(begin: int, end: int) -> None:
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

    for begin, end in itertools.pairwise(places):
        call(begin, end)
    if len(places) > 2 and contraction_keeps(spec, geometry):
        anew = output.copy()
        output.fill(7e7)
        for begin, end in itertools.pairwise(places):
            call(begin + (CONTINUED if begin > 0 else 0), end)
        np.testing.assert_array_equal(output, anew, "a call that goes on must not change a bit")
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


def panels(b: Array, width: int) -> Array:
    """A matrix in panels of so many columns, the last filled up with zeros."""
    filled = np.pad(b, ((0, 0), (0, -b.shape[1] % width)))
    return np.ascontiguousarray(filled.reshape(len(b), filled.shape[1] // width, width).swapaxes(0, 1))


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


def check_convolution(
    kind: str, geometry: ConvolutionGeometry, dtype: str = "float32", narrow: bool = False, **options: Any
) -> None:
    spec = ContractionSpec(kind, dtype, narrow=narrow)
    assert not narrow or specialised(spec, geometry, options.get("target") or host_target()).narrow
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


def check_matmul(geometry: Any, spec: ContractionSpec, seed: int = 0, target: Target | None = None) -> None:
    random = np.random.default_rng(seed)
    g = geometry
    a_shape = (g.depth, g.rows) if spec.transpose_a else (g.rows, g.depth)
    b_shape = (g.columns, g.depth) if spec.transpose_b else (g.depth, g.columns)
    a = random.standard_normal((g.batch if g.a_batched else 1, *a_shape)).astype(spec.dtype)
    b = random.standard_normal((g.batch if g.b_batched else 1, *b_shape)).astype(spec.dtype)
    shape = (g.batch, g.rows, g.columns)
    given = panels(b[0], choose_tile(spec.dtype, target or host_target()).columns) if spec.packed else b
    result = run(spec, geometry, (a, given), shape, target=target)
    check(result, matmul_oracle(a, b, spec), matmul_oracle(np.abs(a), np.abs(b), spec), g.depth)
    parts = run(spec, geometry, (a, given), shape, target=target, cuts=(0.2, 0.5, 0.8))
    np.testing.assert_array_equal(result, parts, "where the work is cut must not change a bit")
