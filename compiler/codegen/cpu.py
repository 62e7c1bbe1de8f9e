"""Prints the kernel IR as Numba source for the CPU: plain Python that a person can read.

    def kernel(pointers, extents, scratch, begin, end):
        p0 = private_float32(pointers[0])
        p1 = private_float32(pointers[1])
        v0 = begin * 1024
        v1 = minimum_int64(end * 1024, extents[0])
        for i0 in range(v0, v1):
            v2 = p0[i0]
            p1[i0] = exp_float32(v2)

Every scalar function is an intrinsic of `compiler.codegen.scalar_math`; literals carry their dtype.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from compiler.loops import (
    INDEX,
    Accumulate,
    Call,
    Expr,
    Extent,
    Let,
    Literal,
    Load,
    Local,
    Loop,
    LoopKernel,
    Operand,
    ScratchLoad,
    ScratchStore,
    Statement,
    Store,
)
from compiler.types import is_float, item_size
from runtime.dimensions import Dim, align_up

NOTHING_SHARED: Mapping[int, int] = {}
HALF = "float16"
HEADER = "def kernel(pointers, extents, scratch, begin, end):"
INDENT = "    "
INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
INDEX_INFIX = {"add": "+", "subtract": "-", "multiply": "*", "floor_divide": "//", "remainder": "%"}
COMPARISONS = {
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
BOOLEAN_WORDS = {
    "logical_and": "and", "minimum": "and", "multiply": "and", "logical_or": "or", "maximum": "or", "add": "or",
}  # fmt: skip


@dataclasses.dataclass(slots=True)
class CpuPrinter:
    """Prints statements; `extents` are the run-time sizes in the order the call passes them.

    `aliases`: expressions that the text around knows by a name.
    """

    operands: Sequence[Operand]
    extents: Sequence[Dim]
    first_extent: int = 0
    same_memory: Mapping[int, int] = dataclasses.field(default_factory=dict)
    aliases: Mapping[Expr, str] = dataclasses.field(default_factory=dict)

    def pointers(self, which: Sequence[int]) -> list[str]:
        """Lines that make typed pointers of operands.

        They are private: for the vectoriser no two of them overlap. An operand that takes another's memory has
        the same pointer (`same_memory`: position to the earlier position).
        """
        lines = []
        for i in which:
            if (owner := self.same_memory.get(i)) is not None and owner in which:
                lines.append(f"p{i} = p{owner}")
            else:
                lines.append(f"p{i} = private_{memory_dtype(self.operands[i].dtype)}(pointers[{i}])")
        return lines

    def sizes(self) -> list[str]:
        """Lines that read the run-time sizes."""
        return [f"n{i} = extents[{self.first_extent + i}]" for i in range(len(self.extents))]

    def block(self, statements: Sequence[Statement], depth: int = 0) -> list[str]:
        """Statements as lines, indented by `depth` levels."""
        pad = INDENT * depth
        lines: list[str] = []
        for statement in statements:
            match statement:
                case Loop(index=index, start=start, stop=stop, body=body, step=step):
                    bounds = f"{self.expression(start)}, {self.expression(stop)}"
                    if isinstance(start, Literal) and start.value == 0:
                        bounds = self.expression(stop)
                    if step != 1:
                        bounds = f"{self.expression(start)}, {self.expression(stop)}, {step}"
                    lines.append(f"{pad}for {index.name} in range({bounds}):")
                    lines.extend(self.block(body, depth + 1))
                case Let(target=target, value=value):
                    lines.append(f"{pad}{target.name} = {self.expression(value)}")
                case Accumulate(target=target, combine=combine, value=value):
                    joined = self.call(target.dtype, combine, [target, value])
                    lines.append(f"{pad}{target.name} = {joined}")
                case Store(operand=operand, index=index_, value=value):
                    lines.append(f"{pad}p{operand}[{self.expression(index_)}] = {self.expression(value)}")
                case ScratchStore(row=row, index=index_, value=value, combine=combine):
                    place = f"s{row}[{self.expression(index_)}]"
                    new = self.expression(value)
                    if combine is not None:
                        new = self.call(value.dtype, combine, [ScratchLoad(value.dtype, row, index_), value])
                    lines.append(f"{pad}{place} = {new}")
        return lines

    def expression(self, expression: Expr) -> str:
        """An expression as Python source."""
        if self.aliases and (name := self.aliases.get(expression)) is not None:
            return name
        match expression:
            case Literal(dtype=dtype, value=value):
                return literal_source(dtype, value)
            case Extent(dim=dim):
                return f"n{list(self.extents).index(dim)}"
            case Local(name=name):
                return name
            case Load(dtype=dtype, operand=operand, index=index):
                loaded = f"p{operand}[{self.expression(index)}]"
                return f"truth({loaded})" if dtype == "bool" else loaded
            case ScratchLoad(dtype=dtype, row=row, index=index):
                loaded = f"s{row}[{self.expression(index)}]"
                return f"truth({loaded})" if dtype == "bool" else loaded
            case Call(dtype=dtype, function=function, arguments=arguments):
                return self.call(dtype, function, arguments)
        raise TypeError(f"Cannot print {expression!r}.")

    def call(self, dtype: str, function: str, arguments: Sequence[Expr]) -> str:
        """A scalar function applied to expressions."""
        if arguments[0].dtype == HALF and function not in ("cast", "select"):
            return self._half_call(dtype, function, arguments)
        sources = [self.expression(argument) for argument in arguments]
        inner = arguments[0].dtype
        if function == "cast":
            return f"cast_{inner}_{dtype}({sources[0]})"
        if function == "select":
            return f"select_{dtype}({', '.join(sources)})"
        if function == "is_nan":
            return f"({sources[0]} != {sources[0]})"
        if function == "logical_not":
            return f"(not {sources[0]})"
        if function in COMPARISONS:
            return f"({sources[0]} {COMPARISONS[function]} {sources[1]})"
        if len(sources) == 2:
            return self._joined(inner, function, *sources)
        if function == "negative" and is_float(inner):
            return f"(-{sources[0]})"
        return f"{function}_{inner}({', '.join(sources)})"

    def _half_call(self, dtype: str, function: str, arguments: Sequence[Expr]) -> str:
        """float16 arithmetic happens in float32 and rounds once, as processors without float16 units do."""
        wide = [Call("float32", "cast", (argument,)) for argument in arguments]
        result = self.call("bool" if dtype == "bool" else "float32", function, wide)
        return result if dtype == "bool" else f"cast_float32_float16({result})"

    def _joined(self, dtype: str, function: str, left: str, right: str) -> str:
        if dtype == "bool":
            return f"({left} {BOOLEAN_WORDS[function]} {right})"
        table = INDEX_INFIX if dtype == INDEX else INFIX if is_float(dtype) else {}
        if function in table:
            return f"({left} {table[function]} {right})"
        if function == "multiply_high":
            return f"mulhi_{dtype}({left}, {right})"
        if function.startswith("index_"):
            return f"{function}({left}, {right})"
        return f"{function}_{dtype}({left}, {right})"


def memory_dtype(dtype: str) -> str:
    """What an element is in memory: a bool is a byte, a float16 its bits."""
    return {"bool": "uint8", HALF: "uint16"}.get(dtype, dtype)


def literal_source(dtype: str, value: float) -> str:
    """A literal of the given dtype as Python source."""
    if dtype in (INDEX, "bool"):
        return repr(value)
    if dtype == HALF:
        return f"cast_float32_float16({literal_source('float32', value)})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{dtype}({'nan' if math.isnan(value) else 'inf' if value > 0 else '-inf'})"
    return f"{dtype}({value!r})"


@dataclasses.dataclass(frozen=True, slots=True)
class PrintedKernel:
    """Source of a kernel, the sizes its calls pass, and the private memory it needs."""

    source: str
    extents: tuple[Dim, ...]
    scratch: Dim


def print_loop_kernel(kernel: LoopKernel, shared: Mapping[int, int] = NOTHING_SHARED) -> PrintedKernel:
    """A loop nest as Numba source; `shared` names operands that are the memory of an earlier one.

    Where private rows lie is passed at run time, so that rows of other lengths share the code.
    """
    offset: Dim = 0
    offsets: list[Dim] = []
    for dtype, length in kernel.scratch_rows:
        offsets.append(offset)
        offset = align_up(offset + length * item_size(dtype), 64)
    extents = [*kernel.extents, *offsets[1:]]
    printer = CpuPrinter(kernel.operands, extents, same_memory=shared)
    lines = printer.pointers(range(len(kernel.operands))) + printer.sizes()
    for row, (dtype, _) in enumerate(kernel.scratch_rows):
        place = f" + n{len(kernel.extents) + row - 1}" if row else ""
        lines.append(f"s{row} = private_{memory_dtype(dtype)}(scratch{place})")
    lines += printer.block(kernel.body)
    source = "\n".join([HEADER, *(INDENT + line for line in lines)]) + "\n"
    return PrintedKernel(source, tuple(extents), offset)
