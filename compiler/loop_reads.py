"""What expressions and statements of the kernel IR read."""

from __future__ import annotations

from compiler.loops import (
    Accumulate,
    Call,
    Expr,
    Let,
    Load,
    Local,
    Loop,
    ScratchLoad,
    ScratchStore,
    Statement,
    Store,
)


def children_of(expression: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside one."""
    match expression:
        case Call(arguments=arguments):
            return arguments
        case Load(index=index) | ScratchLoad(index=index):
            return (index,)
    return ()


def locals_of(expression: Expr) -> list[str]:
    """Names an expression reads."""
    return [inner.name for inner in walk(expression) if isinstance(inner, Local)]


def local_depth(expression: Expr) -> int:
    """Nesting level of the innermost scope an expression depends on; 0 for none."""
    return max((inner.depth for inner in walk(expression) if isinstance(inner, Local)), default=0)


def walk(expression: Expr) -> list[Expr]:
    """An expression and everything inside it."""
    found = [expression]
    for inner in found:  # grows while it is walked
        found.extend(children_of(inner))
    return found


def expressions_of(statement: Statement) -> tuple[Expr, ...]:
    """The expressions of one statement, its body excluded."""
    match statement:
        case Loop(start=start, stop=stop):
            return (start, stop)
        case Let(value=value):
            return (value,)
        case Accumulate(target=target, value=value):
            return (target, value)
        case Store(index=index, value=value) | ScratchStore(index=index, value=value):
            return (index, value)
