"""Samples of ops in float32: an op with a body says its types there."""

from __future__ import annotations

from compiler.ir import Graph, Op, Value
from compiler.rewrite import rebuild


def in_float32(op: Op) -> Op:
    """The op with bodies over float32 where they are over float64."""
    bodies = {name: _narrowed(value) for name, value in op.fields.items() if isinstance(value, Graph)}
    return type(op)(**(op.fields | bodies)) if bodies else op


def _narrowed(body: Graph) -> Graph:
    wide = [entry.value for entry in body.inputs if entry.value.type.dtype == "float64"]
    narrow = {value: Value(value.type.with_dtype("float32")) for value in wide}
    return rebuild(body, narrow, lambda op, _: in_float32(op))
