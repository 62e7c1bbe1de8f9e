"""Kernel source -> relocatable object code, through Numba. The one place that touches Numba's compiler.

A kernel is compiled without its Python and C wrappers, under fast-math flags that may reorder and contract
but never assume away NaN or infinity.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import njit, types

from compiler.codegen.contraction_assembly import make_private_pointer
from compiler.codegen.index_math import index_namespace
from compiler.codegen.scalar_math import scalar_namespace
from compiler.target import Target
from compiler.version import source_version

FAST_MATH = {"nsz", "contract", "reassoc", "arcp"}
_INTEGERS: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]
SIGNATURE = types.void(_INTEGERS, _INTEGERS, types.int64, types.int64, types.int64)
OPTIONS: dict[str, Any] = {
    "fastmath": FAST_MATH,
    "error_model": "numpy",
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
DTYPES = ("float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64")
PRIVATE = {f"private_{dtype}": dtype for dtype in (*DTYPES, "int64")}


@dataclasses.dataclass(frozen=True, slots=True)
class CompiledKernel:
    """Object code of one kernel and the name of its function."""

    symbol: str
    object_code: bytes
    dispatcher: Any  # the Numba function, for looking at LLVM and assembly


class KernelCompileError(RuntimeError):
    """Numba refused a kernel; the message has the source."""


def kernel_key(source: str, target: Target) -> str:
    """Content address of a kernel's object code: everything that decides its bytes."""
    versions = (source_version("compiler/codegen"), numba.__version__, llvmlite.__version__, np.__version__)
    parts = (*versions, str(target), target.features, source)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def compile_kernel(source: str, namespace: Mapping[str, object]) -> CompiledKernel:
    """Compile the function `kernel` that `source` defines; `namespace` adds to the scalar functions.

    Raises:
        KernelCompileError: with the source, if Numba refuses it.
    """
    code = compile(source, "<graphcore kernel>", "exec")
    scope: dict[str, Any] = {dtype: getattr(np, dtype) for dtype in DTYPES}
    scope |= {"inf": float("inf"), "nan": float("nan")} | index_namespace()
    names = [name for constant in code.co_consts if hasattr(constant, "co_names") for name in constant.co_names]
    scope |= {name: make_private_pointer(PRIVATE[name]) for name in names if name in PRIVATE}
    scope |= scalar_namespace(names) | dict(namespace)
    exec(code, scope)
    try:
        dispatcher: Any = njit(SIGNATURE, **OPTIONS)(scope["kernel"])
    except Exception as error:
        raise KernelCompileError(f"Numba cannot compile this kernel: {error}\n{source}") from error
    (result,) = dispatcher.overloads.values()
    return CompiledKernel(result.fndesc.llvm_func_name, result.library._get_compiled_object(), dispatcher)
