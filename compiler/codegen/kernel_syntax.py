"""What is read off a kernel's syntax before it is translated. Only statements are walked where that is enough."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["KernelCompileError", "assigned_in", "items_have_sums", "kernel_definition", "names_in"]


class KernelCompileError(RuntimeError):
    """A kernel cannot be compiled; the message has the reason and the source."""


def kernel_definition(source: str) -> ast.FunctionDef:
    """The one function that a kernel's source defines.

    Raises:
        KernelCompileError: if the source is anything else.
    """
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise KernelCompileError(f"A kernel's source does not parse: {error}\n{source}") from error
    match body:
        case [ast.FunctionDef(decorator_list=[]) as definition]:
            return definition
    raise KernelCompileError(f"A kernel's source is one function definition. Received:\n{source}")


def items_have_sums(loop: ast.For) -> bool:
    """Whether a loop over work items has sums in loops of its own.

    LLVM may unroll these and widen the loop over items, and sum those left over in another order: the bits of an item
    would depend on where its grain begins and ends, and so on the threads.
    """
    match loop.iter:
        case ast.Call(func=ast.Name(id="range"), args=[ast.Name(id="begin"), ast.Name(id="end")]):
            return any(_is_sum(part) for node in _loops_in(loop.body) for part in node.body)
    return False


def _loops_in(body: list[ast.stmt]) -> Iterator[ast.For]:
    for statement in body:
        if isinstance(statement, ast.For):
            yield statement
        if isinstance(statement, (ast.For, ast.While)):
            yield from _loops_in(statement.body)


def assigned_in(body: list[ast.stmt]) -> Iterator[str]:
    """The names that statements assign, each as often as it is assigned."""
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name
            case ast.For(target=ast.Name(id=name), body=inner):
                yield name
                yield from assigned_in(inner)
            case ast.While(body=inner):
                yield from assigned_in(inner)


def _is_sum(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp(left=ast.Name(id=before))):
            return name == before
    return False


def names_in(definition: ast.FunctionDef) -> list[str]:
    """The names that a kernel's source uses, each once."""
    return list(dict.fromkeys(node.id for node in ast.walk(definition) if isinstance(node, ast.Name)))
