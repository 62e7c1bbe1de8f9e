"""How scalars become statements: the machinery that `compiler.lower` drives.

Lowering is demand driven. The schedule of a group opens loops and asks for the scalars it must store; each op's
`lower` asks for the scalars it reads. A scalar is placed in the outermost loop that knows all indices it depends
on, so that a row's maximum is computed once a row and a bias once a column without any later pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from compiler.ir import Graph, Value
from compiler.loop_reads import expressions_of, local_depth, locals_of, walk
from compiler.loops import (
    INDEX,
    Accumulate,
    Expr,
    Extent,
    Let,
    Literal,
    Load,
    Local,
    Loop,
    LoopKernel,
    Lowering,
    Operand,
    Statement,
    Store,
    call,
    cast,
    literal,
    reduction_start,
)
from runtime.dimensions import Dim

RUN_TIME_EXTENT = 16  # sizes from here on are passed at run time: unrolling such a loop gains nothing


@dataclasses.dataclass(slots=True)
class Scope:
    """An open loop: its statements so far, and the scalars already named in it."""

    statements: list[Statement]
    known: dict[tuple[Value, tuple[Expr, ...]], Expr] = dataclasses.field(default_factory=dict)
    named: dict[Expr, Local] = dataclasses.field(default_factory=dict)


class KernelLowering(Lowering):
    """Lowers one body; `scopes[d]` is the loop at nesting depth d (0: before all loops)."""

    def __init__(self, body: Graph, numbers: Sequence[int] = ()) -> None:
        """`numbers`: of the kernel's operands that the inputs and then the results are; in order, if not given."""
        self.body = body
        self.numbers = numbers or range(len(body.inputs) + len(body.outputs))
        self.operand_index: dict[Value, int] = {e.value: self.numbers[i] for i, e in enumerate(body.inputs)}
        self.scopes = [Scope([])]
        self.extents: list[Dim] = []
        self.scratch_rows: list[tuple[str, Dim]] = []
        self.given: dict[Value, Callable[[Sequence[Expr]], Expr]] = {}
        self.names: dict[str, int] = {}
        self.depth = 0  # where the scalar being lowered belongs
        # Positions that are a step times a loop's index plus a number: the index, the step and the number.
        self.parts: dict[Expr, tuple[Expr, int, int]] = {}
        # Elements of groups of random words: by shape and index the block and the word.
        self.columns: dict[tuple[tuple[Dim, ...], tuple[Expr, ...]], tuple[Expr, int]] = {}
        self.domain: tuple[tuple[Dim, ...], tuple[Expr, ...], Expr] | None = None

    # -------------------------------------------------------------------------------- Lowering protocol

    def extent(self, dim: Dim) -> Expr:
        """A literal if it is small, else a size the call passes, so that layers of other sizes share the code."""
        if isinstance(dim, int) and dim < RUN_TIME_EXTENT:
            return literal(dim, INDEX)
        if dim not in self.extents:
            self.extents.append(dim)
        return Extent(INDEX, dim)

    def let(self, value: Expr) -> Expr:
        """Name a value in the outermost scope that can compute it."""
        if isinstance(value, (Literal, Local, Extent)):
            return value
        scope = self.scopes[depth := local_depth(value)]
        if value not in scope.named:
            scope.named[value] = Local(value.dtype, self.fresh("v"), depth)
            scope.statements.append(Let(scope.named[value], value))
        return scope.named[value]

    def reduce(
        self, combine: str, dtype: str, extents: Sequence[Dim], body: Callable[[tuple[Expr, ...]], Expr]
    ) -> Expr:
        """Loops over `extents` around `body`, placed where the scalar being lowered belongs."""
        outer, inner = self.scopes[: self.depth + 1], self.scopes[self.depth + 1 :]
        home = self.depth
        self.scopes = outer
        total = Local(accumulator_dtype(combine, dtype), self.fresh("total"), home)
        outer[home].statements.append(Let(total, reduction_start(combine, total.dtype)))
        indices = [self.open_loop("r", literal(0, INDEX), self.extent(extent)) for extent in extents]
        self.depth = len(self.scopes) - 1  # a reduction inside this one belongs in its innermost loop
        value = body(tuple(index for index, _ in indices))
        self.scopes[-1].statements.append(Accumulate(total, combine, cast(value, total.dtype)))
        for _, loop in reversed(indices):
            self.close_loop(loop)
        self.scopes = self.scopes + inner
        self.depth = home
        return cast(total, dtype)

    def split(self, position: Expr, step: int) -> tuple[Expr, Expr]:
        """The parts of a position that was made of them, else a division."""
        if position in self.parts and self.parts[position][1] == step:
            quotient, _, remainder = self.parts[position]
            return quotient, literal(remainder, INDEX)
        return super().split(position, step)

    def column_of(self, shape: Sequence[Dim], index: Sequence[Expr]) -> tuple[Expr, int] | None:
        """What the schedule has noted."""
        return self.columns.get((tuple(shape), tuple(index)))

    # ------------------------------------------------------------------------------------------- pieces

    def fresh(self, stem: str) -> str:
        """A name not used yet in this kernel."""
        count = self.names.get(stem, 0)
        self.names[stem] = count + 1
        return f"{stem}{count}"

    def open_loop(self, stem: str, start: Expr, stop: Expr, step: int = 1) -> tuple[Local, Loop]:
        """Open a loop inside the innermost scope."""
        index = Local(INDEX, self.fresh(stem), len(self.scopes))
        loop = Loop(index, start, stop, [], step)
        self.scopes.append(Scope(loop.body))
        return index, loop

    def close_loop(self, loop: Loop) -> None:
        """Close the innermost scope and append its loop to the one around it."""
        self.scopes.pop()
        self.scopes[-1].statements.append(loop)

    def element(self, value: Value, index: Sequence[Expr]) -> Expr:
        """The scalar of `value` at `index`, computed at most once per scope."""
        index = tuple(self.let(part) for part in index)
        if value in self.given:
            return self.given[value](index)
        depth = max((local_depth(part) for part in index), default=0)
        known = self.scopes[depth].known
        if (value, index) in known:
            return known[value, index]
        if value in self.operand_index:
            flat = self.flat(value.type.shape, index)
            result = self.let(Load(value.type.dtype, self.operand_index[value], flat))
        else:
            result = self._compute(value, index, depth)
        known[value, index] = result
        return result

    def _compute(self, value: Value, index: tuple[Expr, ...], depth: int) -> Expr:
        node = value.producer
        before = self.depth
        self.depth = depth
        types = [v.type for v in node.inputs] + [value.type]
        readers = [self._reader(v) for v in node.inputs]
        result = node.op.lower(self, readers, types, index)
        self.depth = before
        return self.let(result)

    def _reader(self, value: Value) -> Callable[[Sequence[Expr]], Expr]:
        return lambda index: self.element(value, index)

    def place(self, shape: Sequence[Dim], index: Sequence[Expr], flat: Expr) -> None:
        """From now on `flat` is known to be the row-major position of `index` in `shape`."""
        self.domain = (tuple(shape), tuple(self.let(part) for part in index), flat)

    def flat(self, shape: Sequence[Dim], index: Sequence[Expr]) -> Expr:
        """Row-major position of an index."""
        if self.domain is not None and self.domain[:2] == (tuple(shape), tuple(index)):
            return self.domain[2]
        return flat_index(self, shape, index)

    def store(self, values: Sequence[tuple[int, Value]], index: Sequence[Expr]) -> None:
        """Store results of the body at an index: all are computed before the first is written, so that a
        result may take the memory of an input."""
        index = tuple(self.let(part) for part in index)
        scalars = [self.element(value, index) for _, value in values]
        for (position, value), scalar in zip(values, scalars, strict=True):
            operand = self.numbers[len(self.body.inputs) + position]
            self.scopes[-1].statements.append(Store(operand, self.flat(value.type.shape, index), scalar))

    def operands(self) -> tuple[Operand, ...]:
        """Inputs, then results."""
        read = tuple(Operand(e.value.type.dtype, False) for e in self.body.inputs)
        return read + tuple(Operand(v.type.dtype, True) for _, v in self.body.outputs)

    def loop_kernel(self, work: Dim) -> LoopKernel:
        """What has been lowered, as a kernel."""
        body = prune(self.scopes[0].statements)
        return LoopKernel(self.operands(), self.used_extents(body), work, body, tuple(self.scratch_rows))

    def used_extents(self, statements: Sequence[Statement]) -> tuple[Dim, ...]:
        """The run-time sizes that statements read, in order of first need."""
        used: dict[Dim, None] = {}
        pending = list(statements)
        for statement in pending:  # grows while it is walked
            for expression in expressions_of(statement):
                used.update((inner.dim, None) for inner in walk(expression) if isinstance(inner, Extent))
            if isinstance(statement, Loop):
                pending.extend(statement.body)
        return tuple(used)


def accumulator_dtype(combine: str, dtype: str) -> str:
    """What sums and products are kept in: in float16 a sum of ones would stop growing at 2048."""
    return "float32" if dtype == "float16" and combine in ("add", "multiply") else dtype


def flat_index(k: Lowering, shape: Sequence[Dim], index: Sequence[Expr]) -> Expr:
    """Row-major position of an index."""
    flat: Expr = literal(0, INDEX)
    for extent, part in zip(shape, index, strict=True):
        flat = flat * k.extent(extent) + part
    return flat


def unflatten(k: Lowering, shape: Sequence[Dim], flat: Expr) -> tuple[Expr, ...]:
    """The index at a row-major position."""
    parts: list[Expr] = []
    for extent in reversed(shape[1:]):
        # Division by a constant is a multiplication; that is worth more than sharing the code.
        size = literal(extent, INDEX) if isinstance(extent, int) else k.extent(extent)
        # A position is never negative: unsigned division is right, and cheaper.
        parts.append(k.let(call("index_remainder", flat, size)))
        flat = k.let(call("index_floor_divide", flat, size))
    return (flat, *reversed(parts)) if shape else ()


def prune(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """Drop scalars that nothing reads."""
    used: set[str] = set()

    def keep(block: Sequence[Statement]) -> list[Statement]:
        kept: list[Statement] = []
        for statement in reversed(block):
            if isinstance(statement, Let) and statement.target.name not in used:
                continue
            if isinstance(statement, Loop):
                statement.body[:] = keep(statement.body)
            used.update(name for expression in expressions_of(statement) for name in locals_of(expression))
            kept.append(statement)
        return kept[::-1]

    return tuple(keep(statements))
