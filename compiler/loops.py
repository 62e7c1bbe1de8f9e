"""The kernel IR: typed scalar expressions, loops, loads, stores and reductions; neutral to the target.

A kernel runs over *work items* `begin..end` of a range that depends on the shapes alone, so that its
results never depend on how a runtime splits the range. Scalars are typed: a literal carries its dtype,
because a bare `0.5` would widen float32 to float64. Index arithmetic is int64.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compiler.types import TensorType, is_float
from runtime.dimensions import Dim
from runtime.records import record

if TYPE_CHECKING:
    from compiler.ir import Op

INDEX = "int64"


@record
class Expr:
    """A typed scalar expression. Operators build larger ones; both sides must have one dtype."""

    dtype: str

    def __add__(self, other: Expr | float) -> Expr:
        return binary("add", self, other)

    def __radd__(self, other: Expr | float) -> Expr:
        return binary("add", other, self)

    def __sub__(self, other: Expr | float) -> Expr:
        return binary("subtract", self, other)

    def __rsub__(self, other: Expr | float) -> Expr:
        return binary("subtract", other, self)

    def __mul__(self, other: Expr | float) -> Expr:
        return binary("multiply", self, other)

    def __rmul__(self, other: Expr | float) -> Expr:
        return binary("multiply", other, self)

    def __truediv__(self, other: Expr | float) -> Expr:
        return binary("divide", self, other)

    def __rtruediv__(self, other: Expr | float) -> Expr:
        return binary("divide", other, self)

    def __floordiv__(self, other: Expr | float) -> Expr:
        return binary("floor_divide", self, other)

    def __mod__(self, other: Expr | float) -> Expr:
        return binary("remainder", self, other)

    def __neg__(self) -> Expr:
        return call("negative", self)

    def __lt__(self, other: Expr | float) -> Expr:
        return binary("less", self, other)

    def __le__(self, other: Expr | float) -> Expr:
        return binary("less_equal", self, other)

    def __gt__(self, other: Expr | float) -> Expr:
        return binary("greater", self, other)

    def __ge__(self, other: Expr | float) -> Expr:
        return binary("greater_equal", self, other)

    def __and__(self, other: Expr) -> Expr:
        return binary("bitwise_and" if self.dtype != "bool" else "logical_and", self, other)

    def __or__(self, other: Expr) -> Expr:
        return binary("bitwise_or" if self.dtype != "bool" else "logical_or", self, other)

    def __xor__(self, other: Expr) -> Expr:
        return binary("bitwise_xor", self, other)

    def equals(self, other: Expr | float) -> Expr:
        """Elementwise `==` (the operator itself compares expressions)."""
        return binary("equal", self, other)


@record
class Literal(Expr):
    """A constant of the given dtype."""

    value: float | int | bool


@record
class Extent(Expr):
    """A symbolic extent, read at run time (int64)."""

    dim: Dim


@record
class Local(Expr):
    """A loop index or a named scalar; `depth` is the nesting level of the scope that defines it."""

    name: str
    depth: int


@record
class Load(Expr):
    """An element of an operand at a flat index."""

    operand: int
    index: Expr


@record
class ScratchLoad(Expr):
    """An element of a private scratch row."""

    row: int
    index: Expr


@record
class Call(Expr):
    """A scalar function applied to expressions, among them arithmetic, `select` and `cast`."""

    function: str
    arguments: tuple[Expr, ...]


COMPARISONS = frozenset({"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"})
LOGICAL = frozenset({"logical_and", "logical_or", "logical_not", "is_nan"})


def literal(value: float, dtype: str) -> Literal:
    """A constant; integers given for a float dtype become floats."""
    if is_float(dtype):
        return Literal(dtype, float(value))
    return Literal(dtype, bool(value) if dtype == "bool" else int(value))


def _coerce(value: Expr | float, dtype: str) -> Expr:
    return value if isinstance(value, Expr) else literal(value, dtype)


def binary(function: str, left: Expr | float, right: Expr | float) -> Expr:
    """Two-argument call whose literal side takes the other's dtype; folds integer constants.

    Raises:
        TypeError: if the two dtypes differ.
    """
    dtype = left.dtype if isinstance(left, Expr) else right.dtype if isinstance(right, Expr) else "float64"
    left, right = _coerce(left, dtype), _coerce(right, dtype)
    if left.dtype != right.dtype:
        raise TypeError(f"'{function}' needs one dtype on both sides. Received: {left.dtype} and {right.dtype}")
    if dtype == INDEX and (folded := _fold_index(function, left, right)) is not None:
        return folded
    return call(function, left, right)


def _fold_index(function: str, left: Expr, right: Expr) -> Expr | None:
    a = left.value if isinstance(left, Literal) else None
    b = right.value if isinstance(right, Literal) else None
    if a is not None and b is not None:
        match function:
            case "add":
                return literal(a + b, INDEX)
            case "subtract":
                return literal(a - b, INDEX)
            case "multiply":
                return literal(a * b, INDEX)
            case "floor_divide" if b:
                return literal(a // b, INDEX)
            case "remainder" if b:
                return literal(a % b, INDEX)
    match function, a, b:
        case ("add", 0, _):
            return right
        case ("add" | "subtract", _, 0):
            return left
        case ("multiply", 1, _):
            return right
        case ("multiply" | "floor_divide", _, 1):
            return left
        case ("multiply", 0, _) | ("multiply", _, 0) | ("remainder", _, 1):
            return literal(0, INDEX)
    return None


def call(function: str, *arguments: Expr) -> Expr:
    """Apply a scalar function; the result has the first argument's dtype, bool for predicates."""
    if function in COMPARISONS or function in LOGICAL:
        return Call("bool", function, arguments)
    return Call(arguments[0].dtype, function, arguments)


def select(condition: Expr, chosen: Expr, otherwise: Expr) -> Expr:
    """`chosen` where the condition holds, else `otherwise`; both sides are evaluated."""
    if chosen.dtype != otherwise.dtype:
        raise TypeError(f"'select' needs one dtype. Received: {chosen.dtype} and {otherwise.dtype}")
    return Call(chosen.dtype, "select", (condition, chosen, otherwise))


def cast(value: Expr, dtype: str) -> Expr:
    """Convert to another dtype; float to integer truncates toward zero."""
    return value if value.dtype == dtype else Call(dtype, "cast", (value,))


# ------------------------------------------------------------------------------------------ statements


@dataclasses.dataclass(slots=True)
class Loop:
    """`for index in range(start, stop, step)`."""

    index: Local
    start: Expr
    stop: Expr
    body: list[Statement]
    step: int = 1


@dataclasses.dataclass(slots=True)
class Let:
    """Name a scalar."""

    target: Local
    value: Expr


@dataclasses.dataclass(slots=True)
class Accumulate:
    """`target = combine(target, value)` for an accumulator named by `Let`."""

    target: Local
    combine: str
    value: Expr


@dataclasses.dataclass(slots=True)
class Store:
    """Write an element of an operand at a flat index."""

    operand: int
    index: Expr
    value: Expr


@dataclasses.dataclass(slots=True)
class ScratchStore:
    """Write an element of a private scratch row (`combine` None: overwrite)."""

    row: int
    index: Expr
    value: Expr
    combine: str | None = None


Statement = Loop | Let | Accumulate | Store | ScratchStore

REDUCTIONS = {"add": 0.0, "multiply": 1.0, "maximum": float("-inf"), "minimum": float("inf")}


def reduction_start(combine: str, dtype: str) -> Literal:
    """The neutral element of a reduction."""
    if is_float(dtype):
        return literal(REDUCTIONS[combine], dtype)
    if dtype == "bool":
        return literal(combine in ("multiply", "minimum"), dtype)
    bits, signed = int("".join(c for c in dtype if c.isdigit())), dtype.startswith("int")
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return literal({"add": 0, "multiply": 1, "maximum": lowest, "minimum": highest}[combine], dtype)


@record
class Operand:
    """One buffer of a kernel."""

    dtype: str
    written: bool


BEGIN = Local(INDEX, "begin", 0)  # the first work item of this call
END = Local(INDEX, "end", 0)  # one past the last
FIRST_IMAGE = Local(INDEX, "first_image", 0)  # the images that a contraction's kernel has just completed
NEXT_IMAGE = Local(INDEX, "next_image", 0)


@record
class LoopKernel:
    """A loop nest over operands. `extents` are the symbolic sizes that the call passes, in this order."""

    operands: tuple[Operand, ...]
    extents: tuple[Dim, ...]
    work: Dim  # number of work items
    body: tuple[Statement, ...]
    scratch_rows: tuple[tuple[str, Dim], ...] = ()  # dtype and length of each private row


@record
class ContractionKernel:
    """A matrix product or convolution and the elementwise tail that runs on each finished element.

    The result is seen as a matrix: `row` counts all leading axes together, `column` the last one. `tail`
    reads the finished element as `value` and stores what the kernel writes.
    """

    operands: tuple[Operand, ...]
    op: Op
    types: tuple[TensorType, ...]  # of the two factors, then of the product
    extents: tuple[Dim, ...]
    row: Local
    column: Local
    value: Local
    head: tuple[Statement, ...]  # computed once a call
    tail: tuple[Statement, ...]
    streams: tuple[int, ...]  # operands of the result's shape beside the factors: read or written once each
    images: tuple[Statement, ...] = ()  # run after images FIRST_IMAGE .. NEXT_IMAGE are stored; work items are images
    scratch_rows: tuple[tuple[str, Dim], ...] = ()  # of `images`


Kernel = LoopKernel | ContractionKernel


# ------------------------------------------------------------------------------------- lowering protocol

Element = Callable[[Sequence[Expr]], Expr]


class Lowering(abc.ABC):
    """What an op's `lower` may ask for. Implemented by `compiler.lower`."""

    @abc.abstractmethod
    def extent(self, dim: Dim) -> Expr:
        """An extent as an int64 expression: a literal, or a run-time value if symbolic."""

    @abc.abstractmethod
    def let(self, value: Expr) -> Expr:
        """Name a value so that it is computed once in the scope where it can first be computed."""

    @abc.abstractmethod
    def reduce(
        self, combine: str, dtype: str, extents: Sequence[Dim], body: Callable[[tuple[Expr, ...]], Expr]
    ) -> Expr:
        """Combine `body(indices)` over all indices below `extents`.

        `combine` is one of add, multiply, maximum, minimum. The loops are placed in the scope of the
        result's own index, so that what does not depend on an inner loop is computed outside it.
        """

    def split(self, position: Expr, step: int) -> tuple[Expr, Expr]:
        """`position // step` and what remains; without arithmetic where the loops run over the quotient."""
        quotient = position // step
        return quotient, position - quotient * step

    def column_of(self, shape: Sequence[Dim], index: Sequence[Expr]) -> tuple[Expr, int] | None:
        """Where the loops run over groups of random words: an element's block and word (`compiler.random_groups`)."""
        return None
