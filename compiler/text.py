"""The text form of a graph: one node a line; `parse(to_text(g)) == g` bit for bit.

    graph NAME {
      input %0 "x": f32[batch,784]
      variable %1 "dense/kernel": f32[784,10]
      %2: f32[batch,10] = matmul(%0, %1) {transpose_a=False, transpose_b=False} @"dense" #"train.py:12"
      return "y"=%2
      update "dense/kernel"=%1
    }

Attributes print in the order of the op's fields. Floats print as Python's shortest text that reads back to the
same double (`inf`, `-inf`, `nan` by name); sizes as `runtime.dimensions` prints them; arrays as hexadecimal bytes
with dtype and shape, or, above 64 elements, by the SHA-256 of their content, which the reader must be given.
A graph's name is quoted unless it is one plain word. The body of a kernel or a loop is a nested graph. Comments run
from `//`, at the start of a line or after a space, to the end of the line.
"""

from __future__ import annotations

import json
import math

from compiler.ir import Graph, Node, Op, Value
from compiler.ops.sources import ArrayAttribute
from compiler.text_reader import INLINE_ELEMENTS, PLAIN_NAME, ParseError, parse
from runtime.dimensions import SymbolicInt

__all__ = ["ParseError", "attributes_text", "large_constants", "parse", "to_text"]


def to_text(graph: Graph, *, sources: bool = True) -> str:
    """A graph as text; without `sources` the user's file and line are left out."""
    return "\n".join(_graph_lines(graph, "", sources)) + "\n"


def large_constants(graph: Graph) -> dict[str, ArrayAttribute]:
    """Arrays that the text names by hash only; hand them to `parse`."""
    found: dict[str, ArrayAttribute] = {}
    graphs = [graph]
    for inner in graphs:  # grows while it is walked
        for node in inner.nodes:
            for value in node.op.fields.values():
                if isinstance(value, Graph):
                    graphs.append(value)
                elif isinstance(value, ArrayAttribute) and value.array.size > INLINE_ELEMENTS:
                    found[value.digest] = value
    return found


def _graph_lines(graph: Graph, pad: str, sources: bool) -> list[str]:
    names: dict[Value, str] = {}
    title = graph.name if PLAIN_NAME.match(graph.name) else json.dumps(graph.name)
    lines = [f"{pad}graph {title} {{"]
    for word, entries in (("input", graph.inputs), ("variable", graph.variables)):
        for entry in entries:
            names[entry.value] = f"%{len(names)}"
            lines.append(f"{pad}  {word} {names[entry.value]} {json.dumps(entry.name)}: {entry.value.type}")
    for node in graph.nodes:
        lines.extend(_node_lines(node, names, pad + "  ", sources))
    for word, results in (("return", graph.outputs), ("update", graph.updates)):
        for name, value in results:
            lines.append(f"{pad}  {word} {json.dumps(name)}={names[value]}")
    lines.append(f"{pad}}}")
    return lines


def _node_lines(node: Node, names: dict[Value, str], pad: str, sources: bool) -> list[str]:
    arguments = ", ".join(names[value] for value in node.inputs)
    results = []
    for value in node.outputs:
        names[value] = f"%{len(names)}"
        results.append(f"{names[value]}: {value.type}")
    place = (f" @{json.dumps(node.layer)}" if node.layer else "") + (
        f" #{json.dumps(node.source)}" if node.source and sources else ""
    )
    body = node.op.fields.get("body")
    text = attributes_text(node.op)
    head = f"{pad}{', '.join(results)} = {node.op.name}({arguments})" + (f" {{{text}}}" if text else "")
    if isinstance(body, Graph):
        inner = _graph_lines(body, pad + "  ", sources)
        return [f"{head} {{", *inner, f"{pad}}}{place}"]
    return [head + place]


def attributes_text(op: Op) -> str:
    """An op's attributes as the text form prints them on the op's own line: all but a body."""
    return ", ".join(f"{name}={_value_text(v)}" for name, v in op.fields.items() if not isinstance(v, Graph))


def _value_text(value: object) -> str:
    match value:
        case bool() | int() | None:
            return repr(value)
        case float():
            if math.isfinite(value):
                return repr(value)
            return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
        case str():
            return json.dumps(value)
        case SymbolicInt():
            return str(value)
        case tuple():
            inner = ", ".join(_value_text(item) for item in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case ArrayAttribute(array=array):
            head = f"array {array.dtype} [{','.join(map(str, array.shape))}]"
            if array.size > INLINE_ELEMENTS:
                return f"{head} sha256 {value.digest}"
            return f"{head} hex {array.tobytes().hex() or '-'}"
    raise TypeError(f"Attribute {value!r} has no text form.")
