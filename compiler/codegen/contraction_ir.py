"""Helpers to emit small native functions through llvmlite, beside the code that Numba compiles.

A contraction's inner parts (the micro-kernel, packing, copies) are LLVM functions with vector types, placed in
the module of the Numba kernel that calls them: they cost LLVM time only, a few milliseconds, and none of
Numba's type inference. All their arguments are int64: addresses, byte strides, counts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = [
    "INT32",
    "INT64",
    "NativeFunction",
    "constant",
    "element_bytes",
    "element_type",
    "is_power_of_two",
    "make_private_pointer",
    "native_intrinsic",
]

INT32 = ir.IntType(32)
INT64 = ir.IntType(64)


def constant(value: int) -> Any:
    """An int64 constant."""
    return ir.Constant(INT64, value)


def element_bytes(dtype: str) -> int:
    """Bytes of one element of a float dtype that contractions support; `ValueError` for any other."""
    sizes = {"float32": 4, "float64": 8}
    if dtype not in sizes:
        raise ValueError(
            f"a contraction is computed in float32 or float64, got {dtype!r}; cast its operands first"
        )
    return sizes[dtype]


def element_type(dtype: str) -> Any:
    """The LLVM type of a float dtype."""
    return ir.FloatType() if element_bytes(dtype) == 4 else ir.DoubleType()


class NativeFunction:
    """A native function under construction: int64 parameters, int64 or no result, a builder and loop helpers."""

    def __init__(self, module: Any, name: str, parameters: Sequence[str], dtype: str, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        self.size = element_bytes(dtype)
        self.scalar = element_type(dtype)
        self.vector = ir.VectorType(self.scalar, lanes)
        self.function = ir.Function(module, ir.FunctionType(INT64, [INT64] * len(parameters)), name)
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        self.function.attributes.add("nounwind")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.arguments = dict(zip(parameters, self.function.args, strict=True))

    def add(self, *terms: Any) -> Any:
        """The sum of int64 values; Python ints are taken as constants."""
        total = self._integer(terms[0])
        for term in terms[1:]:
            total = self.builder.add(total, self._integer(term))
        return total

    def multiply(self, left: Any, right: Any) -> Any:
        """The product of two int64 values; Python ints are taken as constants."""
        return self.builder.mul(self._integer(left), self._integer(right))

    def pointer(self, address: Any, kind: Any) -> Any:
        """`address` as a pointer to `kind`."""
        return self.builder.inttoptr(address, kind.as_pointer())

    def load(self, address: Any, kind: Any) -> Any:
        """Load a `kind` from an address that is aligned to its elements only."""
        value = self.builder.load(self.pointer(address, kind))
        value.align = 8 if kind == INT64 else self.size
        return value

    def store(self, value: Any, address: Any) -> None:
        """Store to an address that is aligned to the elements of `value` only."""
        self.builder.store(value, self.pointer(address, value.type)).align = self.size

    def zero_vector(self) -> Any:
        """A vector of zeros."""
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def shuffle(self, left: Any, right: Any, indices: Sequence[int]) -> Any:
        """Pick lanes of `left` followed by those of `right`."""
        mask = ir.Constant(ir.VectorType(INT32, len(indices)), list(indices))
        return self.builder.shuffle_vector(left, right, mask)

    def broadcast(self, value: Any) -> Any:
        """A vector with `value` in each lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.Constant(INT32, 0))
        return self.shuffle(single, undefined, [0] * self.lanes)

    def vector_intrinsic(self, name: str, result: Any, arguments: Sequence[Any]) -> Any:
        """The LLVM intrinsic `name`, declared once a module."""
        known = self.builder.module.globals.get(name)
        return known or ir.Function(self.builder.module, ir.FunctionType(result, list(arguments)), name)

    @contextmanager
    def loop(self, begin: Any, end: Any, step: int = 1) -> Iterator[Any]:
        """Emit the block of the `with` for `begin, begin + step, …` while the index plus `step` is within `end`.

        Yields the index. What is left over, fewer than `step` turns, is for the caller: `remainder_begin`.
        """
        body = self.function.append_basic_block("body")
        done = self.function.append_basic_block("done")
        first, last = self._integer(begin), self._integer(end)
        entry = self.builder.block
        self.builder.cbranch(self._fits(first, step, last), body, done)
        self.builder.position_at_end(body)
        index = self.builder.phi(INT64)
        index.add_incoming(first, entry)
        yield index
        following = self.builder.add(index, constant(step))
        index.add_incoming(following, self.builder.block)
        self.builder.cbranch(self._fits(following, step, last), body, done)
        self.builder.position_at_end(done)

    def remainder_begin(self, end: Any, step: int) -> Any:
        """Where a loop from zero in strides of `step`, a power of two, stops."""
        return self.builder.and_(self._integer(end), constant(-step))

    def finish(self, result: Any | None = None) -> Any:
        """Return from the function; gives the function."""
        self.builder.ret(constant(0) if result is None else result)
        return self.function

    def _fits(self, index: Any, step: int, last: Any) -> Any:
        return self.builder.icmp_signed("<=", self.builder.add(index, constant(step)), last)

    def _integer(self, value: Any) -> Any:
        return constant(value) if isinstance(value, int) else value


def native_intrinsic(
    name: str, parameters: Sequence[str], emit: Callable[[Any, str], Any], documentation: str
) -> Any:
    """A Numba intrinsic over int64 arguments that calls a native function, emitted once a module.

    `emit(module, name)` builds the function. The intrinsic returns the function's int64 result.
    """
    count = len(parameters)

    def typer(*arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            function = builder.module.globals.get(name) or emit(builder.module, name)
            return builder.call(function, values)

        return types.int64(*[types.int64] * count), generate

    # Numba reads an intrinsic's parameters from its signature, so it needs one with the true count.
    namespace: dict[str, Any] = {"typer": typer}
    names = ", ".join(parameters)
    exec(f"def {name}(typing_context, {names}):\n    return typer(typing_context, {names})\n", namespace)
    function = namespace[name]
    function.__doc__ = documentation
    return intrinsic(function)


def is_power_of_two(value: int) -> bool:
    """Whether `value` is 1, 2, 4, …."""
    return value > 0 and math.log2(value).is_integer()


@functools.cache
def make_private_pointer(dtype: str) -> Any:
    """The intrinsic `private_pointer(address)`: a typed pointer that shares no memory with any other pointer.

    LLVM learns the promise from the `noalias` result of an opaque function, called once a kernel, and then
    vectorises loops over that memory with no run-time overlap checks; those would cost more than the loop over
    one row of a tile. Only for memory that nothing else in the kernel reaches through Numba pointers.
    """
    element = {"int64": types.int64, "float32": types.float32, "float64": types.float64}[dtype]
    pointer_type = types.CPointer(element)
    name = f"private_pointer_{dtype}"

    def private_pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            result = context.get_value_type(pointer_type)
            function = builder.module.globals.get(name) or _emit_private_pointer(builder.module, name, result)
            return builder.call(function, values)

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
