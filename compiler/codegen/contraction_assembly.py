"""Native functions compiled once and shared by every kernel that calls them.

LLVM spends a third of a second on the micro-kernel and its companions, more than on everything else in a kernel.
They are the same for all kernels of one dtype and tile, so they are compiled once a process, to *assembly
text*, and each kernel's module carries that text (`module asm`): the assembler reads it in milliseconds, and the
kernel's object code stays self-contained, with the native functions as local symbols.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from compiler.codegen.contraction_ir import INT64, native_type
from compiler.codegen.llvm_jobs import quick_code_generation

__all__ = [
    "NativeParts",
    "assembly_of",
    "compile_to_assembly",
    "make_native_intrinsic",
    "make_pointer",
    "make_private_pointer",
    "pointer_to",
]

# Labels that the compiler makes up; each text needs its own where several meet in one object.
_LOCAL_LABEL = re.compile(r"(?<![\w.])(\.?L)(BB|CPI|JTI|func_begin|func_end|tmp)(?=\d)")
# Directives that would make a native function visible outside its object, or that only one text may have.
_DROPPED = re.compile(r"\s*\.(globl|file|ident|addrsig|subsections_via_symbols|build_version)\b")


def compile_to_assembly(emit: Callable[[Any], None], prefix: str) -> str:
    """The assembly of the functions that `emit(module)` adds; see `assembly_of`."""
    module = ir.Module(prefix)
    emit(module)
    return assembly_of(str(module), prefix)


def assembly_of(text: str, prefix: str) -> str:
    """The assembly of the functions in a module's text, for the machine Numba compiles for.

    Their symbols are local to the object the assembly ends up in. `prefix` sets its labels apart from others'.
    """
    # Numba's own target machine: the code model and features must be those of the kernel around it.
    codegen = cpu_target.target_context.codegen()
    machine = codegen._tm
    parsed = llvm.parse_assembly(text)
    parsed.triple = machine.triple
    parsed.data_layout = str(codegen._data_layout)
    parsed.verify()
    _run_passes(parsed, machine)
    with quick_code_generation():
        lines = machine.emit_assembly(parsed).splitlines()
    kept = "\n".join(line for line in lines if not _DROPPED.match(line))
    return _LOCAL_LABEL.sub(rf"\1{prefix}_\2", kept) + "\n"


def _run_passes(module: Any, machine: Any) -> None:
    """What native functions need of LLVM's passes; code generation adds its own for loops and addresses.

    Their vectors and unrolled steps are written down already. LLVM's level 3 took four times as long (micro-kernel
    205 ms, a convolution's driver 250) and gave code that is no faster: 35 contractions between 0.94 and 1.07 of the
    time, 1.00 in the middle.
    """
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))


def make_native_intrinsic(name: str, parameters: Sequence[str], assembly: Callable[[], str]) -> Any:
    """A Numba intrinsic over int64 arguments that calls the native function `name` of an assembly text."""
    count = len(parameters)

    def typer(*arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            function = builder.module.globals.get(name)
            if function is None:
                llvm.initialize_native_asmparser()
                _bring_along(context.active_code_library, _module_text(assembly()))
                function = ir.Function(builder.module, native_type(count), name)
            return builder.call(function, values)

        return types.int64(*[types.int64] * count), generate

    # Numba reads an intrinsic's parameters from its signature, so it needs one with the true count.
    namespace: dict[str, Any] = {"typer": typer}
    names = ", ".join(parameters)
    exec(f"def {name}(typing_context, {names}):\n    return typer(typing_context, {names})\n", namespace)
    return intrinsic(namespace[name])


class NativeParts:
    """Stands for Numba's library while a kernel is translated: collects the texts that its intrinsics bring along."""

    def __init__(self) -> None:
        self.texts: list[str] = []


def _bring_along(library: Any, text: str) -> None:
    """Add a module's text to what is being compiled: a translated kernel, or a function that Numba compiles."""
    if isinstance(library, NativeParts):
        library.texts.append(text)
    else:
        library.add_llvm_module(llvm.parse_assembly(text))


@functools.lru_cache(maxsize=64)
def _module_text(assembly: str) -> str:
    """An LLVM module that holds nothing but assembly."""
    escaped = (line.replace("\\", "\\5C").replace('"', "\\22") for line in assembly.splitlines())
    return "\n".join(f'module asm "{line}"' for line in escaped)


def pointer_to(dtype: str) -> Any:
    """Numba's type of a pointer to elements of a dtype."""
    return types.CPointer(getattr(types, dtype))  # type: ignore[no-untyped-call]


@functools.cache
def make_pointer(dtype: str) -> Any:
    """The intrinsic `pointer(address)`: a typed pointer to memory."""
    pointer_type = pointer_to(dtype)

    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(pointer_type))

        return pointer_type(types.int64), generate

    return intrinsic(pointer)


@functools.cache
def make_private_pointer(dtype: str) -> Any:
    """The intrinsic `private_pointer(address)`: a pointer to memory that no other pointer of the kernel reaches.

    LLVM learns the promise from the `noalias` result of an opaque function and vectorises loops over that
    memory without run-time overlap checks. Right as well for an output that takes an input's place element for
    element, each read before what depends on it is written.
    """
    pointer_type = pointer_to(dtype)
    name = f"private_pointer_{dtype}"

    def private_pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            result = context.get_value_type(pointer_type)
            function = builder.module.globals.get(name) or _emit_private_pointer(builder.module, name, result)
            pointer = builder.call(function, values)
            # Seen by something that LLVM cannot look into: stores to this memory are not dead at the end.
            builder.asm(ir.FunctionType(ir.VoidType(), [result]), "", "r,~{memory}", [pointer], side_effect=True)
            return pointer

        return pointer_type(types.int64), generate

    return intrinsic(private_pointer)


def _emit_private_pointer(module: Any, name: str, result: Any) -> Any:
    function = ir.Function(module, ir.FunctionType(result, [INT64]), name)
    function.linkage = "internal"
    for attribute in ("noinline", "optnone", "nounwind"):
        function.attributes.add(attribute)
    function.return_value.add_attribute("noalias")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.ret(builder.inttoptr(function.args[0], result))
    return function
