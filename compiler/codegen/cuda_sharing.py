"""Names for expressions that one statement uses more than once, so that a person can read the kernel.

    v6 = (((v4 + r0) - 1) if (((v4 + r0) - 1) > 0) else 0)    ->    t0 = ((v4 + r0) - 1)
                                                                    v6 = (t0 if (t0 > 0) else 0)

A compiler would find them itself; but it takes longer over them, and so does the simulator.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from compiler.loop_reads import children_of, local_depth, walk
from compiler.loops import (
    Accumulate,
    Call,
    Expr,
    Let,
    Load,
    Local,
    Loop,
    LoopKernel,
    Statement,
    Store,
)


def share_repeated(kernel: LoopKernel) -> LoopKernel:
    """The kernel with repeated expressions named; loops are copied, not changed."""
    return dataclasses.replace(kernel, body=tuple(_Sharing(_totals(kernel.body)).block(kernel.body, {})))


def _totals(statements: Iterable[Statement]) -> set[str]:
    """Names that take other values as loops go on."""
    found: set[str] = set()
    for statement in statements:
        if isinstance(statement, Accumulate):
            found.add(statement.target.name)
        elif isinstance(statement, Loop):
            found |= _totals(statement.body)
    return found


class _Sharing:
    def __init__(self, totals: set[str]) -> None:
        self.totals = totals
        self.count = 0

    def block(self, statements: Sequence[Statement], known: dict[Expr, Local]) -> list[Statement]:
        """A block of statements; `known` are the named expressions of the blocks around it."""
        known = dict(known)
        result: list[Statement] = []
        for statement in statements:
            if isinstance(statement, Loop):
                inner = self.block(statement.body, known)
                result.append(dataclasses.replace(statement, body=inner))
                continue
            lets: list[Statement] = []
            made = dict(known)
            rewrite = partial(self._rewritten, lets=lets, made=made, repeated=_repeated(statement))
            changed = _mapped(statement, rewrite)  # fills `lets`
            result += [*lets, changed]
            known |= {expression: name for expression, name in made.items() if self._lasts(expression)}
        return result

    def _rewritten(self, expression: Expr, lets: list[Statement], made: dict[Expr, Local], repeated: set[Expr]) -> Expr:
        if expression in made:
            return made[expression]
        changed = expression
        match expression:
            case Call(dtype=dtype, function=function, arguments=arguments):
                inner = tuple(self._rewritten(argument, lets, made, repeated) for argument in arguments)
                changed = Call(dtype, function, inner)
            case Load(dtype=dtype, operand=operand, index=index):
                changed = Load(dtype, operand, self._rewritten(index, lets, made, repeated))
        if expression not in repeated:
            return changed
        made[expression] = Local(expression.dtype, f"t{self.count}", local_depth(expression))
        self.count += 1
        lets.append(Let(made[expression], changed))
        return made[expression]

    def _lasts(self, expression: Expr) -> bool:
        """Whether an expression has the same value later: it reads neither memory nor a running total."""
        return not any(
            isinstance(inner, Load) or (isinstance(inner, Local) and inner.name in self.totals)
            for inner in walk(expression)
        )


def _mapped(statement: Statement, rewrite: Callable[[Expr], Expr]) -> Statement:
    """A statement that is no loop with its expressions rewritten; totals stay."""
    match statement:
        case Let(target=target, value=value):
            return Let(target, rewrite(value))
        case Accumulate(target=target, combine=combine, value=value):
            return Accumulate(target, combine, rewrite(value))
        case Store(operand=operand, index=index, value=value):
            return Store(operand, rewrite(index), rewrite(value))
    return statement


def _repeated(statement: Statement) -> set[Expr]:
    """Calls that a statement uses in more than one place, those inside another repeated one counted once."""
    match statement:
        case Let(value=value) | Accumulate(value=value):
            roots: tuple[Expr, ...] = (value,)
        case Store(index=index, value=value):
            roots = (index, value)
        case _:
            return set()
    uses = Counter(roots)
    seen: set[Expr] = set()
    pending = list(roots)
    for expression in pending:  # grows while it is walked
        if expression in seen:
            continue
        seen.add(expression)
        children = children_of(expression)
        uses.update(children)
        pending.extend(children)
    return {expression for expression, count in uses.items() if count > 1 and isinstance(expression, Call)}
