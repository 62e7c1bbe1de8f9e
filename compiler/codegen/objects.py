"""Kernel source -> relocatable object code, through Numba's types and LLVM target. The one place that compiles.

A kernel is one LLVM function with Numba's calling convention: its text, translated by
`compiler.codegen.kernel_translator`, under fast-math flags that may reorder and contract but never assume away NaN or
infinity. Numba gives the types, the typed intrinsics and the target machine. Its steps for a Python function are left
out, since a kernel's text has been typed and lowered already, and so is the link into this process, since the runtime
loads the object code.

Why: Numba optimises each module three times. One run of LLVM's standard pipeline gives the same bits as fast, and the
31 kernels of a convolutional network take 3.2 s of processor time, not 5.6.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import llvmlite
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import fastmathpass
from numba.core.cpu_options import FastMathOptions
from numba.core.registry import cpu_target

from compiler.codegen.contraction_assembly import NativeParts, make_private_pointer
from compiler.codegen.index_math import index_namespace
from compiler.codegen.kernel_syntax import KernelCompileError, kernel_definition, names_in
from compiler.codegen.kernel_translator import KernelTranslator, Typed
from compiler.codegen.llvm_jobs import JobQueue, ModuleJob
from compiler.codegen.scalar_math import scalar_namespace
from compiler.target import Target
from compiler.version import source_version

__all__ = [
    "EMITTED_BY",
    "OPTIONS",
    "SIGNATURE",
    "CompiledKernel",
    "KernelCompileError",
    "KernelQueue",
    "KernelTexts",
    "compile_kernel",
    "kernel_key",
    "kernel_scope",
    "kernel_texts",
]

# What decides the bytes of a kernel beside its text: the code generators and all that they import of this package, such
# as the constants of ops that native parts hold. Passes and what shows graphs to people are not among it, so that who
# works on those keeps the compiled kernels. A test holds it against the imports.
EMITTED_BY = (
    "compiler/codegen",
    "compiler/functions",
    "compiler/ops",
    "compiler/__init__.py",
    "compiler/collapse.py",
    "compiler/contractions.py",
    "compiler/grouping.py",
    "compiler/interpret.py",
    "compiler/ir.py",
    "compiler/joins.py",
    "compiler/loop_reads.py",
    "compiler/loops.py",
    "compiler/lower.py",
    "compiler/lower_column.py",
    "compiler/lower_images.py",
    "compiler/lower_rows.py",
    "compiler/lowering.py",
    "compiler/random_groups.py",
    "compiler/rewrite.py",
    "compiler/sorting.py",
    "compiler/target.py",
    "compiler/tiles.py",
    "compiler/types.py",
    "compiler/version.py",
    "compiler/winograd.py",
)
FAST_MATH = {"nsz", "contract", "reassoc", "arcp"}
_INTEGERS: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]
PARAMETERS = {
    "pointers": _INTEGERS, "extents": _INTEGERS, "scratch": types.int64, "begin": types.int64, "end": types.int64,
}  # fmt: skip
SIGNATURE: Any = types.void(*PARAMETERS.values())
# What Numba must be told to compile a kernel's text as a Python function.
OPTIONS: dict[str, Any] = {
    "fastmath": FAST_MATH,
    "error_model": "numpy",
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,  # nothing is allocated, so nothing is counted
}
DTYPES = ("float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64")
# Directives and labels that come with locations and that nobody reads.
_FOR_DEBUGGERS = re.compile(r"^(?:\t\.cfi_.*|\.Ltmp\d+:)\n", re.MULTILINE)
PRIVATE = {f"private_{dtype}": dtype for dtype in (*DTYPES, "int64")}


@dataclasses.dataclass(frozen=True, slots=True)
class CompiledKernel:
    """Object code of one kernel and the name of its function."""

    symbol: str
    object_code: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class KernelTexts:
    """A kernel for people to read: LLVM's IR after its passes, and the processor's instructions as assembly."""

    llvm: str
    assembly: str


def kernel_key(source: str, target: Target) -> str:
    """Content address of a kernel's object code: everything that decides its bytes."""
    versions = (source_version(*EMITTED_BY), numba.__version__, llvmlite.__version__, np.__version__)
    parts = (*versions, str(target), target.features, source)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def compile_kernel(source: str, namespace: Mapping[str, object]) -> CompiledKernel:
    """Compile the function `kernel` that `source` defines; `namespace` adds to the scalar functions.

    Raises:
        KernelCompileError: with the source, for anything outside the language of kernels.
    """
    with KernelQueue() as queue:
        return queue.start(source, namespace)()


def kernel_texts(source: str, namespace: Mapping[str, object]) -> KernelTexts:
    """What `compile_kernel` makes of the same arguments, as text; raises as it does.

    Both texts say which line of the source an instruction comes from: `!dbg` in LLVM's IR, `.loc` in the assembly. The
    instructions are the same as without.
    """
    llvm, assembly = _module_job(source, namespace, located=True)[1].texts()
    return KernelTexts(llvm, _FOR_DEBUGGERS.sub("", assembly))


class KernelQueue:
    """Kernels compiled beside one another; use it in a `with` block."""

    def __init__(self) -> None:
        self._jobs = JobQueue()

    def __enter__(self) -> Self:
        self._jobs.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.__exit__(kind, error, trace)

    def start(self, source: str, namespace: Mapping[str, object]) -> Callable[[], CompiledKernel]:
        """Translate a kernel now and begin to compile it; see `compile_kernel`. The call's result waits for it."""
        symbol, job = _module_job(source, namespace)
        self._jobs.start(job)
        return lambda: CompiledKernel(symbol, self._jobs.object_code(job))


def _module_job(
    source: str, namespace: Mapping[str, object], *, located: bool = False
) -> tuple[str, ModuleJob]:
    """The name of a kernel's function and its LLVM module."""
    definition = kernel_definition(source)
    if [argument.arg for argument in definition.args.args] != list(PARAMETERS):
        raise KernelCompileError(f"A kernel's parameters are {', '.join(PARAMETERS)}. Received:\n{source}")
    symbol = f"kernel_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    try:
        return symbol, ModuleJob(_translated(symbol, definition, namespace, located))
    except Exception as error:
        raise KernelCompileError(f"This kernel cannot be compiled: {error}\n{source}") from error


def _translated(
    symbol: str, definition: ast.FunctionDef, namespace: Mapping[str, object], located: bool
) -> str:
    """The text of an LLVM module with the kernel as function `symbol`, and the native parts that it needs.

    `located`: instructions say which line they come from.
    """
    context = cpu_target.target_context
    module = context.codegen()._create_empty_module(symbol)
    kind = context.call_conv.get_function_type(SIGNATURE.return_type, SIGNATURE.args)
    function = ir.Function(module, kind, symbol)
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    # Before the parameters: where the result and an exception would go; a kernel has neither.
    values = function.args[-len(PARAMETERS) :]
    parameters = {name: Typed(*pair) for name, *pair in zip(PARAMETERS, values, SIGNATURE.args, strict=True)}
    parts = NativeParts()
    with context.push_code_library(parts):
        translator = KernelTranslator(
            context, builder, lambda name: _meaning(name, namespace), lambda name: _function(name) is not None,
            _lines_of(module, function, definition.lineno) if located else None,
        )  # fmt: skip
        translator.translate(definition, parameters)
    builder.ret(ir.Constant(kind.return_type, 0))
    fastmathpass.rewrite_module(module, FastMathOptions(FAST_MATH))  # type: ignore[no-untyped-call]
    return "\n".join([str(module), *parts.texts])


def _lines_of(module: ir.Module, function: ir.Function, first: int) -> Callable[[int], Any]:
    """Metadata for the lines of a function's text, without sections for a debugger: directives are all we read."""
    add, token = module.add_debug_info, ir.DIToken
    file = add("DIFile", {"filename": "kernel.py", "directory": ""})
    unit = add(
        "DICompileUnit",
        {
            "language": token("DW_LANG_Python"),
            "file": file,
            "producer": "graphcore",
            "isOptimized": True,
            "runtimeVersion": 0,
            "emissionKind": token("DebugDirectivesOnly"),
        },
        is_distinct=True,
    )
    kind = add("DISubroutineType", {"types": module.add_metadata([None])})
    scope = add(
        "DISubprogram",
        {
            "name": "kernel",
            "file": file,
            "line": first,
            "type": kind,
            "isLocal": False,
            "isDefinition": True,
            "scopeLine": first,
            "isOptimized": True,
            "unit": unit,
        },
        is_distinct=True,
    )
    function.set_metadata("dbg", scope)
    module.add_named_metadata("llvm.dbg.cu", unit)
    integer = ir.IntType(32)
    version = [ir.Constant(integer, 2), "Debug Info Version", ir.Constant(integer, 3)]
    module.add_named_metadata("llvm.module.flags", version)
    return lambda line: add("DILocation", {"line": line, "column": 1, "scope": scope})


def kernel_scope(definition: ast.FunctionDef, namespace: Mapping[str, object]) -> dict[str, Any]:
    """What the names of a kernel's source stand for. Its text, executed in here, is a function that Numba takes."""
    named = {name: _meaning(name, namespace) for name in names_in(definition)}
    known = {name: meaning for name, meaning in named.items() if meaning is not None}
    return {"inf": float("inf"), "nan": float("nan"), **known}


def _meaning(name: str, namespace: Mapping[str, object]) -> Any:
    """What a kernel's source means by a name; None for no such name."""
    if name in namespace:
        return namespace[name]
    if name in PRIVATE:
        return make_private_pointer(PRIVATE[name])
    return getattr(np, name) if name in DTYPES else _function(name)


@functools.cache
def _function(name: str) -> Any:
    """A function of numbers, whose result depends on nothing but its arguments; None for no such name."""
    return (index_namespace() | scalar_namespace([name])).get(name)
