"""CUDA kernel source -> something that can be launched, or PTX to look at. The one place that calls numba.cuda's
compiler.

Numba reads NUMBA_ENABLE_CUDASIM once, when it is imported; where it is 1, kernels run in its simulator.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import cuda as numba_cuda
from numba import types

from compiler.codegen.cuda import CudaKernel
from compiler.codegen.cuda_math import SIMULATED, scalar_namespace
from compiler.codegen.cuda_simulator import SimulatedCuda, simulated_entry
from compiler.types import SHORT_NAMES

cuda: Any = numba_cuda
NAMES = {dtype: getattr(np, dtype) for dtype in SHORT_NAMES if dtype != "bool"}


LANGUAGE = {"range", "cuda", "grid", "gridsize", "threadIdx", "blockIdx", "gridDim", "x", "y"}
LANGUAGE |= {"shared", "array", "syncthreads"}


class CudaCompileError(RuntimeError):
    """Numba refused a kernel; the message has the source."""


def kernel_function(kernel: CudaKernel) -> Any:
    """The Python function that a kernel's source defines, with the scalar functions that it names.

    Raises:
        CudaCompileError: if it names a scalar function that this target does not have.
    """
    code = compile(kernel.source, "<graphcore cuda kernel>", "exec")
    inner = next(constant for constant in code.co_consts if hasattr(constant, "co_names"))
    scope: dict[str, Any] = NAMES | {"inf": float("inf"), "nan": float("nan")}
    scope |= {"cuda": SimulatedCuda() if SIMULATED else cuda} | scalar_namespace(inner.co_names)
    missing = [name for name in inner.co_names if name not in scope and name not in LANGUAGE]
    if missing:
        raise CudaCompileError(
            f"the CUDA target has no scalar function {', '.join(map(repr, missing))}, which this kernel calls:\n"
            f"{kernel.source}"
        )
    exec(code, scope)
    return simulated_entry(scope) if SIMULATED else scope["kernel"]


def launchable(kernel: CudaKernel) -> Any:
    """The kernel for `launchable[grid, block](*operands, *extents, work)`; a GPU compiles it at its first launch."""
    return cuda.jit(kernel_function(kernel))


def signature(kernel: CudaKernel) -> Any:
    """Argument types: contiguous arrays, then int64."""
    arrays = [types.Array(numba_dtype(operand.dtype), 1, "C") for operand in kernel.operands]
    return types.void(*arrays, *[types.int64] * (len(kernel.extents) + 1))


def numba_dtype(dtype: str) -> Any:
    """Numba's name of an element type."""
    return types.boolean if dtype == "bool" else getattr(types, dtype)


def ptx_of(kernel: CudaKernel, compute_capability: tuple[int, int] = (8, 0)) -> str:
    """A kernel as PTX. Needs NVVM and libdevice of a CUDA toolkit, but neither driver nor GPU.

    Raises:
        RuntimeError: in the simulator, which has no compiler.
        CudaCompileError: with the source, if Numba refuses it.
    """
    if SIMULATED:
        raise RuntimeError("the CUDA simulator has no compiler: unset NUMBA_ENABLE_CUDASIM in a new process.")
    function = kernel_function(kernel)
    with _assumed_device(compute_capability):
        try:
            text, _ = cuda.compile_ptx(function, signature(kernel), cc=compute_capability)
        except Exception as error:
            raise CudaCompileError(f"Numba cannot compile this kernel: {error}\n{kernel.source}") from error
    return str(text)


@contextlib.contextmanager
def _assumed_device(compute_capability: tuple[int, int]) -> Iterator[None]:
    """Numba asks the driver which architecture device functions are for; here it is given."""
    dispatcher: Any = importlib.import_module("numba.cuda.dispatcher")  # not there in the simulator

    class Device:
        def __init__(self) -> None:
            self.compute_capability = compute_capability

    before = dispatcher.get_current_device
    dispatcher.get_current_device = Device
    try:
        yield
    finally:
        dispatcher.get_current_device = before
