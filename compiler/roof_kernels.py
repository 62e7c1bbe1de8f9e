"""The three loops that find the machine's roof, in LLVM's intermediate form.

They are written here and not taken from the compiler: a measure must not move with what it measures.

`peak(turns, a, panel, result)`: the micro-kernel of every fast matrix product (Goto and van de Geijn 2008): a tile of
sums in registers, each step loading one row of a panel and broadcasting one element a row of A, all of it in the
first-level cache. `copy(elements, target, source)` and `triad(elements, target, left, right)` (left + 3 right) are
STREAM's loops (McCalpin 1995), with ordinary stores.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from compiler.target import Target
from runtime.loader import LoadedCode, load_all, target_machine

DEPTH = 256  # steps of a turn: the panel's rows
_UNROLL = 4
_INTEGER, _POINTER, _FLOAT = ir.IntType(64), ir.IntType(8).as_pointer(), ir.FloatType()
_BYTES = 4


@dataclasses.dataclass(frozen=True)
class RoofKernels:
    """Functions that run without the interpreter's lock; `flops_of_a_turn` counts those of `peak`."""

    peak: Callable[..., None]
    copy: Callable[..., None]
    triad: Callable[..., None]
    rows: int
    columns: int
    held: tuple[LoadedCode, ...]

    @property
    def depth(self) -> int:
        """Steps of a turn."""
        return DEPTH

    @property
    def flops_of_a_turn(self) -> int:
        """Floating-point operations of one turn of `peak`."""
        return 2 * DEPTH * self.rows * self.columns


def compile_roof_kernels(target: Target) -> RoofKernels:
    """Compile the loops for a target's vectors and registers."""
    lanes = target.lanes("float32")
    rows, vectors = (14, 2) if target.vector_registers >= 32 else (6, 2)
    module = ir.Module("roof")
    _emit_peak(module, lanes, rows, vectors)
    _emit_stream(module, "copy", lanes, 1)
    _emit_stream(module, "triad", lanes, 2)
    machine = target_machine()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    names = ("peak", "copy", "triad")
    code = load_all(names, machine.emit_object(parsed))
    signatures = {"peak": 3, "copy": 2, "triad": 3}
    functions = {
        name: ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * signatures[name])(code[name].address)
        for name in names
    }
    return RoofKernels(**functions, rows=rows, columns=vectors * lanes, held=tuple(code.values()))


class _Function:
    """A native function under construction, with loops over an index."""

    def __init__(self, module: Any, name: str, pointers: int, lanes: int) -> None:
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_INTEGER, *[_POINTER] * pointers]), name)
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.vector = ir.VectorType(_FLOAT, lanes)
        fma = f"llvm.fma.v{lanes}f32"
        signature = ir.FunctionType(self.vector, [self.vector] * 3)
        self.fma = module.globals.get(fma) or ir.Function(module, signature, fma)
        self.lanes = lanes

    def address(self, base: Any, element: Any, type_: Any) -> Any:
        pointer = self.builder.gep(base, [self.builder.mul(element, _INTEGER(_BYTES))])
        return self.builder.bitcast(pointer, type_.as_pointer())

    def load(self, base: Any, element: Any, type_: Any) -> Any:
        return self.builder.load(self.address(base, element, type_), align=_BYTES)

    def store(self, value: Any, base: Any, element: Any) -> None:
        self.builder.store(value, self.address(base, element, value.type), align=_BYTES)

    def broadcast(self, scalar: Any) -> Any:
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), scalar, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        return self.builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), zeros)

    def loop(
        self, limit: Any, step: int, state: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]
    ) -> list[Any]:
        """`body(index, state)` for 0, step, ... while below `limit`, which is positive; returns the last state."""
        builder, before = self.builder, self.builder.block
        top = self.function.append_basic_block()
        builder.branch(top)
        builder.position_at_end(top)
        index = builder.phi(_INTEGER)
        held = [builder.phi(value.type) for value in state]
        results = list(body(index, held))
        following = builder.add(index, _INTEGER(step))
        for phi, first, last in zip([index, *held], [_INTEGER(0), *state], [following, *results], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, builder.block)
        done = self.function.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", following, limit), top, done)
        builder.position_at_end(done)
        return results


def _emit_peak(module: Any, lanes: int, rows: int, vectors: int) -> None:
    f = _Function(module, "peak", 3, lanes)
    turns, a, panel, result = f.function.args

    def step(index: Any, held: list[Any]) -> list[Any]:
        sums = list(held)
        for offset in range(_UNROLL):
            k = f.builder.add(index, _INTEGER(offset))
            start = f.builder.mul(k, _INTEGER(vectors * lanes))
            columns = [f.load(panel, f.builder.add(start, _INTEGER(v * lanes)), f.vector) for v in range(vectors)]
            for row in range(rows):
                element = f.broadcast(f.load(a, f.builder.add(k, _INTEGER(row * DEPTH)), _FLOAT))
                for v, column in enumerate(columns):
                    at = row * vectors + v
                    sums[at] = f.builder.call(f.fma, [element, column, sums[at]])
        return sums

    zero = ir.Constant(f.vector, None)
    sums = f.loop(
        turns, 1, [zero] * (rows * vectors), lambda _, held: f.loop(_INTEGER(DEPTH), _UNROLL, held, step)
    )
    for number, value in enumerate(sums):
        f.store(value, result, _INTEGER(number * lanes))
    f.builder.ret_void()


def _emit_stream(module: Any, name: str, lanes: int, sources: int) -> None:
    f = _Function(module, name, 1 + sources, lanes)
    elements, target, *operands = f.function.args
    three = ir.Constant(f.vector, [3.0] * lanes)

    def step(index: Any, _: list[Any]) -> list[Any]:
        for offset in range(_UNROLL):
            at = f.builder.add(index, _INTEGER(offset * lanes))
            values = [f.load(operand, at, f.vector) for operand in operands]
            value = values[0] if sources == 1 else f.builder.call(f.fma, [values[1], three, values[0]])
            f.store(value, target, at)
        return []

    f.loop(elements, _UNROLL * lanes, [], step)
    f.builder.ret_void()
