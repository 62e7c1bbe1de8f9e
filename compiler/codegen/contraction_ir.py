"""Helpers to emit small native functions through llvmlite.

A contraction's fixed parts (micro-kernel, packing, copies, the driver loops) are LLVM functions whose arguments
and result are int64: addresses, byte strides, counts. They never pass through Numba's type inference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

__all__ = [
    "CACHE_LINE",
    "INT32",
    "INT64",
    "NativeFunction",
    "constant",
    "element_bytes",
    "is_power_of_two",
    "native_type",
]

INT32 = ir.IntType(32)
INT64 = ir.IntType(64)
CACHE_LINE = 64  # bytes


def constant(value: int) -> Any:
    """An int64 constant."""
    return ir.Constant(INT64, value)


def element_bytes(dtype: str) -> int:
    """Bytes of one element of a float dtype that contractions support; `ValueError` for any other."""
    sizes = {"float32": 4, "float64": 8}
    if dtype not in sizes:
        raise ValueError(f"a contraction is computed in float32 or float64, got {dtype!r}; cast its operands first")
    return sizes[dtype]


def is_power_of_two(value: int) -> bool:
    """Whether `value` is 1, 2, 4, …."""
    return value > 0 and value & (value - 1) == 0


def native_type(parameters: int) -> Any:
    """The LLVM type of a native function: int64 arguments, int64 result."""
    return ir.FunctionType(INT64, [INT64] * parameters)


class NativeFunction:
    """A native function under construction: its int64 arguments, a builder, and helpers for loops and vectors.

    `dtype` and `lanes` are of the vectors it works on.
    """

    def __init__(
        self, module: Any, name: str, parameters: Sequence[str], dtype: str = "float32", lanes: int = 1
    ) -> None:
        self.dtype = dtype
        self.lanes = lanes
        self.size = element_bytes(dtype)
        self.scalar = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, lanes)
        self.function = ir.Function(module, native_type(len(parameters)), name)
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
        stored = self.builder.store(value, self.pointer(address, value.type))
        stored.align = 8 if value.type == INT64 else self.size

    def masked_load(self, address: Any, mask: Any) -> Any:
        """Load the lanes of a vector that a mask allows, zeros in the others, whose bytes are not touched."""
        pointer = self.pointer(address, self.vector)
        name = f"llvm.masked.load.v{self.lanes}f{self.size * 8}.p0"
        load = self.vector_intrinsic(name, self.vector, [pointer.type, INT32, mask.type, self.vector])
        return self.builder.call(load, [pointer, ir.Constant(INT32, self.size), mask, self.zero_vector()])

    def lanes_below(self, count: Any) -> Any:
        """The mask that allows the first `count` lanes."""
        counts = self.broadcast(count)
        return self.builder.icmp_signed("<", ir.Constant(counts.type, list(range(self.lanes))), counts)

    def prefetch(self, address: Any, *, write: bool = False, level: int = 1) -> None:
        """Ask for a cache line, to be read or written, to come to this level of the caches and the ones beyond.

        A hint: it changes nothing but time, and addresses outside of all memory do no harm.
        """
        pointer, flag = ir.IntType(8).as_pointer(), INT32
        function = self.vector_intrinsic("llvm.prefetch.p0", ir.VoidType(), [pointer, flag, flag, flag])
        hints = [ir.Constant(flag, value) for value in (int(write), 4 - level, 1)]  # the last one: data, not code
        self.builder.call(function, [self.builder.inttoptr(self._integer(address), pointer), *hints])

    def zero_vector(self) -> Any:
        """A vector of zeros."""
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def shuffle(self, left: Any, right: Any, indices: Sequence[int]) -> Any:
        """Pick lanes of `left` followed by those of `right`."""
        mask = ir.Constant(ir.VectorType(INT32, len(indices)), list(indices))
        return self.builder.shuffle_vector(left, right, mask)

    def broadcast(self, value: Any) -> Any:
        """A vector with `value`, of any type, in each lane."""
        undefined = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.Constant(INT32, 0))
        return self.shuffle(single, undefined, [0] * self.lanes)

    def vector_intrinsic(self, name: str, result: Any, arguments: Sequence[Any]) -> Any:
        """The LLVM intrinsic `name`, declared once a module."""
        known = self.builder.module.globals.get(name)
        return known or ir.Function(self.builder.module, ir.FunctionType(result, list(arguments)), name)

    @contextmanager
    def loop(self, begin: Any, end: Any, step: int = 1) -> Iterator[Any]:
        """Emit the block of the `with` for `begin, begin + step, …` while index plus `step` is within `end`.

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

    def finish(self, result: Any | None = None) -> None:
        """Return from the function."""
        self.builder.ret(constant(0) if result is None else result)

    def _fits(self, index: Any, step: int, last: Any) -> Any:
        return self.builder.icmp_signed("<=", self.builder.add(index, constant(step)), last)

    def _integer(self, value: Any) -> Any:
        return constant(value) if isinstance(value, int) else value
