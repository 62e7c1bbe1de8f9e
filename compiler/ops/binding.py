"""Replacing the symbols in an op's attributes, at whatever depth its tuples hold them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from compiler.ir import Graph, Op, Value
from compiler.rewrite import rebuild
from compiler.types import substitute_type, symbols_of_type
from runtime.dimensions import Dim, SymbolicInt, substitute, symbols_of


def bind(op: Op, bindings: Mapping[str, Dim]) -> Op:
    """The op with symbols replaced by numbers or expressions; the same object if it holds none of them."""
    changed = {}
    for field in dataclasses.fields(op):
        before = getattr(op, field.name)
        after = _bind(before, bindings)
        if after is not before:
            changed[field.name] = after
    return dataclasses.replace(op, **changed) if changed else op


def _bind(value: Any, bindings: Mapping[str, Dim]) -> Any:
    if isinstance(value, SymbolicInt):
        after = substitute(value, bindings)
        return value if after == value else after
    if isinstance(value, Graph):
        return bind_graph(value, bindings)
    if not isinstance(value, tuple):
        return value
    bound = tuple(_bind(item, bindings) for item in value)
    return value if all(new is old for new, old in zip(bound, value, strict=True)) else bound


def bind_graph(graph: Graph, bindings: Mapping[str, Dim]) -> Graph:
    """The graph with symbols of its inputs replaced, every type and attribute following.

    Raises:
        ValueError: if a type rule refuses the new shapes.
    """
    replaced = dict(bindings)
    fresh = {entry.value: Value(substitute_type(entry.value.type, replaced)) for entry in graph.parameters}
    return rebuild(graph, fresh, lambda op, _: bind(op, bindings))


def attribute_symbols(op: Op) -> frozenset[str]:
    """Names of the symbols in an op's attributes, those of a body's nodes included."""
    names: set[str] = set()
    pending: list[Any] = [getattr(op, field.name) for field in dataclasses.fields(op)]
    while pending:
        value = pending.pop()
        if isinstance(value, SymbolicInt):
            names.update(symbols_of(value))
        elif isinstance(value, tuple):
            pending.extend(value)
        elif isinstance(value, Graph):
            for node in value.nodes:
                names.update(attribute_symbols(node.op), *(symbols_of_type(output.type) for output in node.outputs))
    return frozenset(names)
