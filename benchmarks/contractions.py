"""Speed of every kind of contraction on one thread, beside the micro-kernel's own peak on this machine.

usage: python -m benchmarks.contractions [--seconds-each 0.4] [--dtype float32] [name ...]

Each row: median and best time over many runs, GFLOP/s at the median and at the best, and each as a share of what a
micro-kernel reaches (`compiler.roof_kernels`), at its median and its best, with all operands in the first-level
cache; in float64 the roof is taken as half of float32's. Kernels are compiled as programs' are. Times are the thread's
own processor time: on a machine shared with others, wall-clock time measures the others.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.workloads import Array
from compiler.codegen.contraction import (
    ContractionSpec,
    ConvolutionGeometry,
    MatmulGeometry,
    contraction_extents,
    contraction_scratch,
    contraction_source,
    contraction_work,
    plain_epilogue,
    specialised,
)
from compiler.codegen.microkernel_tile import choose_tile
from compiler.codegen.objects import compile_kernel
from compiler.roof_kernels import DEPTH, compile_roof_kernels
from compiler.target import host_target
from runtime.dimensions import Dim, evaluate
from runtime.loader import load

CONVOLUTIONS: dict[str, str] = {
    "convolution": "forward",
    "convolution_input_gradient": "input gradient",
    "convolution_kernel_gradient": "kernel gradient",
}
SAMPLE_SECONDS = 0.002
PEAK_TURNS = 1000
# As the runtime calls a kernel: room for a result and an exception, then the kernel's own five arguments.
KERNEL_TYPE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3)


@dataclass(frozen=True)
class Case:
    name: str
    spec: ContractionSpec
    geometry: MatmulGeometry | ConvolutionGeometry

    @property
    def operations(self) -> int:
        """Floating-point operations as the field counts them: products with padding included."""
        if isinstance(self.geometry, MatmulGeometry):
            g = self.geometry
            return math.prod(fixed(2, g.batch, g.rows, g.depth, g.columns))
        return 2 * math.prod(fixed(*self.geometry.kernel_shape[:3], *self.geometry.output_shape))


def fixed(*extents: Dim) -> tuple[int, ...]:
    """Extents that are all numbers."""
    return tuple(evaluate(extent, {}) for extent in extents)


def compiled(spec: ContractionSpec) -> tuple[Callable[..., None], float]:
    """A function of five addresses and counts, and the seconds its compilation took."""
    begin = time.thread_time()
    source = contraction_source(spec, host_target(), plain_epilogue(spec.dtype, narrow=spec.narrow))
    kernel = compile_kernel(source.source, source.namespace)
    code = load(kernel.symbol, kernel.object_code)
    seconds = time.thread_time() - begin
    native = KERNEL_TYPE(code.address)
    unused = (ctypes.c_int64 * 2)()
    result, exception = ctypes.addressof(unused), ctypes.addressof(unused) + 8

    def call(*arguments: int) -> None:
        status = native(result, exception, *arguments)
        assert status == 0, code

    return call, seconds


def cases(dtype: str) -> list[Case]:
    result = []

    def matmul(name: str, rows: int, depth: int, columns: int, **flags: bool) -> None:
        result.append(Case(name, ContractionSpec("matmul", dtype, **flags), MatmulGeometry(rows, depth, columns)))

    for size in (512, 1024):
        for a in (False, True):
            for b in (False, True):
                flags = {"transpose_a": a, "transpose_b": b}
                matmul(f"matmul {size} {'t' if a else 'n'}{'t' if b else 'n'}", size, size, size, **flags)
    layers = [(64, 32, 16, 32), (64, 32, 32, 32), (64, 16, 64, 64), (64, 8, 64, 64), (64, 28, 1, 32), (64, 32, 16, 16)]
    for images, size, channels, filters in layers:
        geometry = ConvolutionGeometry(
            (images, size, size, channels), (3, 3, channels, filters), padding=((1, 1), (1, 1))
        )
        for kind, label in CONVOLUTIONS.items():
            name = f"conv {size}x{size} {channels}->{filters} {label}"
            result.append(Case(name, ContractionSpec(kind, dtype), geometry))
    strided = ConvolutionGeometry((64, 32, 32, 16), (3, 3, 16, 32), (2, 2), ((0, 1), (0, 1)))
    for kind, label in CONVOLUTIONS.items():
        result.append(Case(f"conv 32x32 16->32 /2 {label}", ContractionSpec(kind, dtype), strided))
    for rows, depth, columns in ((128, 784, 128), (128, 128, 64), (128, 64, 10), (32, 128, 512), (1, 784, 128)):
        matmul(f"dense {rows}x{depth}x{columns}", rows, depth, columns)
    matmul("dense gradient 784x128x128", 784, 128, 128, transpose_a=True)
    matmul("dense gradient 128x128x784", 128, 128, 784, transpose_b=True)
    transposed = ConvolutionGeometry((64, 32, 32, 3), (3, 3, 3, 32), (2, 2), ((0, 1), (0, 1)))
    to_transposed = ContractionSpec("convolution_input_gradient", dtype)
    result.append(Case("transposed conv 16x16 32->3 /2", to_transposed, transposed))
    to_image = ConvolutionGeometry((64, 32, 32, 32), (3, 3, 32, 3), padding=((1, 1), (1, 1)))
    result.append(Case("conv 32x32 32->3 forward", ContractionSpec("convolution", dtype), to_image))
    for rows, depth, columns in ((1024, 256, 1), (1024, 256, 3)):
        matmul(f"dense {rows}x{depth}x{columns}", rows, depth, columns)
    target = host_target()
    return [dataclasses.replace(case, spec=specialised(case.spec, case.geometry, target)) for case in result]


def shapes(case: Case) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    if isinstance(case.geometry, MatmulGeometry):
        g = case.geometry
        return fixed(g.rows, g.depth), fixed(g.depth, g.columns), fixed(g.rows, g.columns)
    convolution = case.geometry
    x, kernel = fixed(*convolution.input_shape), fixed(*convolution.kernel_shape)
    y = fixed(*convolution.output_shape)
    return {
        "convolution": (x, kernel, y),
        "convolution_input_gradient": (y, kernel, x),
        "convolution_kernel_gradient": (x, y, kernel),
    }[case.spec.kind]


def aligned(size: int, dtype: str) -> Array:
    """Memory of `size` elements at a multiple of 64 bytes."""
    item = np.dtype(dtype).itemsize
    raw = np.empty(size * item + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * item].view(dtype)


def prepare(case: Case, call: Callable[..., None]) -> Callable[[], None]:
    random = np.random.default_rng(0)
    arrays: list[Array] = []
    for shape in shapes(case):
        array = aligned(int(np.prod(shape)), case.spec.dtype)
        array[:] = random.standard_normal(array.size)
        arrays.append(array)
    target = host_target()
    extents = contraction_extents(case.spec, case.geometry)
    scratch = aligned(evaluate(contraction_scratch(case.spec, extents, target), {}), "uint8")
    work = contraction_work(case.spec, extents, target)
    pointers = np.array([array.ctypes.data for array in arrays], np.int64)
    extents_array = np.array(extents, np.int64)
    arguments = (pointers.ctypes.data, extents_array.ctypes.data, scratch.ctypes.data, 0, work)
    held = (arrays, scratch, pointers, extents_array)

    def run() -> None:
        call(*arguments)
        assert held

    return run


def measure(run: Callable[[], None], seconds: float) -> tuple[float, float]:
    """Median and best seconds of one run, over samples long enough for the processor clock."""
    begin = time.perf_counter()
    run()
    turns = max(1, int(SAMPLE_SECONDS / (time.perf_counter() - begin)))
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times) < 5:
        begin = time.thread_time()
        for _ in range(turns):
            run()
        times.append((time.thread_time() - begin) / turns)
    return float(np.median(times)), min(times)


def peak_rates(dtype: str, seconds: float) -> tuple[float, float]:
    """Median and best GFLOP/s of a micro-kernel whose operands stay in the first-level cache."""
    kernels = compile_roof_kernels(host_target())
    sizes = (kernels.rows * DEPTH, kernels.columns * DEPTH, kernels.rows * kernels.columns)
    arrays = [np.full(size, 0.5, np.float32) for size in sizes]
    addresses = [array.ctypes.data for array in arrays]
    median, best = measure(lambda: kernels.peak(PEAK_TURNS, *addresses), seconds)
    operations = PEAK_TURNS * kernels.flops_of_a_turn * 4 / np.dtype(dtype).itemsize / 1e9
    return operations / median, operations / best


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds-each", type=float, default=0.4)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("names", nargs="*", help="measure only cases whose name holds one of these")
    options = parser.parse_args(arguments)
    typical_peak, peak = peak_rates(options.dtype, 4 * options.seconds_each)
    target = host_target()
    print(f"{target}, {options.dtype}, tile {choose_tile(options.dtype, target)}")
    print(f"micro-kernel peak {peak:.1f} GFLOP/s, median {typical_peak:.1f}")
    print(f"{'case':44} {'median':>10} {'best':>10} {'GFLOP/s':>8} {'best':>7} {'of peak':>8} {'best':>7}")
    kernels: dict[ContractionSpec, Callable[..., None]] = {}
    compile_seconds = []
    for case in cases(options.dtype):
        if options.names and not any(name in case.name for name in options.names):
            continue
        if case.spec not in kernels:
            kernels[case.spec], seconds = compiled(case.spec)
            compile_seconds.append(seconds)
        median, best = measure(prepare(case, kernels[case.spec]), options.seconds_each)
        rates = [case.operations / value / 1e9 for value in (median, best)]
        print(
            f"{case.name:44} {median * 1e6:7.0f} us {best * 1e6:7.0f} us"
            f" {rates[0]:8.1f} {rates[1]:7.1f} {rates[0] / typical_peak:8.0%} {rates[1] / peak:7.0%}",
            flush=True,
        )
    print("compile seconds a kernel:", ", ".join(f"{seconds:.2f}" for seconds in compile_seconds))


if __name__ == "__main__":
    main()
