"""How many bytes a kernel must at least read and write."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Graph, Node, Value
from runtime.dimensions import Dim

__all__ = ["least_bytes"]

# Ops that read, of their first operand, no more than they give.
_PARTIAL = frozenset({"take", "slice", "put_rows"})


def least_bytes(body: Graph) -> tuple[Dim, Dim]:
    """Bytes that one call of a kernel must at least read and write: each operand once, of tables only the rows that
    are used.

    What a cache cannot hold from one use to the next comes on top.
    """
    users = body.users()
    read: Dim = 0
    for entry in body.inputs:
        read = read + _bytes_read(entry.value, users[entry.value])
    written: Dim = 0
    for _, value in body.outputs:
        rows = value.producer.inputs[1] if value.op is not None and value.op.name == "put_rows" else value
        written = written + rows.type.size_in_bytes
    return read, written


def _bytes_read(value: Value, readers: Sequence[Node]) -> Dim:
    if not all(node.op.name in _PARTIAL and node.inputs[0] is value for node in readers):
        return value.type.size_in_bytes
    used: Dim = 0
    for node in readers:
        used = used + (0 if node.op.name == "put_rows" else node.outputs[0].type.size_in_bytes)
    return used
