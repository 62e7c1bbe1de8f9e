"""Kernel source -> relocatable object code, through Numba. The one place that touches Numba's compiler.

A kernel is compiled without its Python and C wrappers, under fast-math flags that may reorder and contract
but never assume away NaN or infinity. What Numba compiles is a function of one call, of an intrinsic whose code is
the translated kernel (`compiler.codegen.kernel_translator`).
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import njit, types
from numba.core import typed_passes, untyped_passes
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager
from numba.extending import intrinsic

from compiler.codegen.contraction_assembly import make_private_pointer
from compiler.codegen.index_math import index_namespace
from compiler.codegen.kernel_translator import KernelCompileError, KernelTranslator, Typed, kernel_definition
from compiler.codegen.scalar_math import scalar_namespace
from compiler.target import Target
from compiler.version import source_version

__all__ = [
    "OPTIONS",
    "SIGNATURE",
    "CompiledKernel",
    "KernelCompileError",
    "compile_kernel",
    "kernel_key",
    "kernel_scope",
]

FAST_MATH = {"nsz", "contract", "reassoc", "arcp"}
_INTEGERS: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]
PARAMETERS = {
    "pointers": _INTEGERS, "extents": _INTEGERS, "scratch": types.int64, "begin": types.int64, "end": types.int64,
}  # fmt: skip
SIGNATURE: Any = types.void(*PARAMETERS.values())
OPTIONS: dict[str, Any] = {
    "fastmath": FAST_MATH,
    "error_model": "numpy",
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,  # nothing is allocated, so nothing is counted
}
DTYPES = ("float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64")
PRIVATE = {f"private_{dtype}": dtype for dtype in (*DTYPES, "int64")}
_WRAPPER = f"def kernel({', '.join(PARAMETERS)}):\n    body({', '.join(PARAMETERS)})\n"


class _CallCompiler(CompilerBase):
    """Numba's steps for a function that is one call; the others look for what such a function cannot hold."""

    def define_pipelines(self) -> list[Any]:
        """The steps, in Numba's order."""
        steps: Any = PassManager("kernel")  # type: ignore[no-untyped-call]
        steps.add_pass(untyped_passes.TranslateByteCode, "read the bytecode")
        steps.add_pass(untyped_passes.FixupArgs, "name the arguments")
        steps.add_pass(untyped_passes.IRProcessing, "prepare the intermediate form")
        steps.add_pass(typed_passes.NopythonTypeInference, "find the types")
        steps.add_pass(typed_passes.NativeLowering, "emit LLVM")
        steps.add_pass(typed_passes.NoPythonBackend, "compile")
        steps.finalize()
        return [steps]


@dataclasses.dataclass(frozen=True, slots=True)
class CompiledKernel:
    """Object code of one kernel and the name of its function."""

    symbol: str
    object_code: bytes
    dispatcher: Any  # the Numba function, for looking at LLVM and assembly


def kernel_key(source: str, target: Target) -> str:
    """Content address of a kernel's object code: everything that decides its bytes."""
    versions = (source_version("compiler/codegen"), numba.__version__, llvmlite.__version__, np.__version__)
    parts = (*versions, str(target), target.features, source)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def compile_kernel(source: str, namespace: Mapping[str, object]) -> CompiledKernel:
    """Compile the function `kernel` that `source` defines; `namespace` adds to the scalar functions.

    Raises:
        KernelCompileError: with the source, for anything outside the language of kernels.
    """
    definition = kernel_definition(source)
    if [argument.arg for argument in definition.args.args] != list(PARAMETERS):
        raise KernelCompileError(f"A kernel's parameters are {', '.join(PARAMETERS)}. Received:\n{source}")
    functions, scope = _functions(definition), kernel_scope(definition, namespace)
    refusals: list[KernelCompileError] = []

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parameters = {name: Typed(*pair) for name, *pair in zip(PARAMETERS, values, signature.args, strict=True)}
        try:
            KernelTranslator(context, builder, scope, functions).translate(definition, parameters)
        except KernelCompileError as error:
            refusals.append(error)
            raise
        return context.get_dummy_value()

    wrapper: dict[str, Any] = {"body": _kernel_intrinsic(generate)}
    exec(_WRAPPER, wrapper)
    try:
        dispatcher: Any = njit(SIGNATURE, pipeline_class=_CallCompiler, **OPTIONS)(wrapper["kernel"])
    except Exception as error:
        reason = refusals[0] if refusals else error
        raise KernelCompileError(f"This kernel cannot be compiled: {reason}\n{source}") from reason
    (result,) = dispatcher.overloads.values()
    return CompiledKernel(result.fndesc.llvm_func_name, result.library._get_compiled_object(), dispatcher)


def kernel_scope(definition: ast.FunctionDef, namespace: Mapping[str, object]) -> dict[str, Any]:
    """What the names of a kernel's source stand for. Its text, executed in here, is a function that Numba takes."""
    scope: dict[str, Any] = {dtype: getattr(np, dtype) for dtype in DTYPES}
    scope |= {"inf": float("inf"), "nan": float("nan")} | _functions(definition)
    scope |= {name: make_private_pointer(PRIVATE[name]) for name in _names(definition) if name in PRIVATE}
    return scope | dict(namespace)


def _functions(definition: ast.FunctionDef) -> dict[str, Any]:
    """The functions of numbers that a kernel names; their results depend on nothing but their arguments."""
    return index_namespace() | scalar_namespace(_names(definition))


def _names(definition: ast.FunctionDef) -> list[str]:
    return list(dict.fromkeys(node.id for node in ast.walk(definition) if isinstance(node, ast.Name)))


def _kernel_intrinsic(generate: Any) -> Any:
    def body(typing_context: Any, pointers: Any, extents: Any, scratch: Any, begin: Any, end: Any) -> Any:
        return SIGNATURE, generate

    return intrinsic(body)
