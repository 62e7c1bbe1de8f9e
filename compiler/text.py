"""The text form of a graph: one node a line; `parse(to_text(g)) == g` bit for bit. docs/grammar.md has its grammar.

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

The *pretty* form is for people: inputs and variables are called by their names, attributes that have their default are
left out, arithmetic is infix, and a uniform tensor is its number. It reads back to the same graph, too.

    graph NAME {
      input %x: f32[batch,784]
      variable %dense_kernel "dense/kernel": f32[784,10]
      %2: f32[batch,10] = matmul(%x, %dense_kernel) @"dense" #"train.py:12"
      %3: f32[batch,10] = 0.5
      %4: f32[batch,10] = %2 * %3
      return "y"=%4
    }
"""

from __future__ import annotations

import dataclasses
import json
import math
import re

from compiler.ir import Graph, Input, Node, Op, Value
from compiler.ops.sources import ArrayAttribute, Full
from compiler.text_reader import INFIX, INLINE_ELEMENTS, PLAIN_NAME, ParseError, parse
from runtime.dimensions import SymbolicInt

__all__ = ["ParseError", "attributes_text", "large_constants", "parse", "to_text"]

_SIGNS = {name: sign for sign, name in INFIX.items()}


def to_text(graph: Graph, *, sources: bool = True, inline: int = INLINE_ELEMENTS, pretty: bool = False) -> str:
    """A graph as text.

    Without `sources` the user's file and line are left out. Arrays of up to `inline` elements stand in it, larger ones
    are named by their hash. `pretty` is the form for people.
    """
    return "\n".join(_Writer(sources, inline, pretty).graph(graph, "")) + "\n"


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


@dataclasses.dataclass(frozen=True, slots=True)
class _Writer:
    sources: bool
    inline: int
    pretty: bool

    def graph(self, graph: Graph, pad: str) -> list[str]:
        """The lines of a graph, each behind `pad`."""
        names: dict[Value, str] = {}
        title = graph.name if PLAIN_NAME.match(graph.name) else json.dumps(graph.name)
        lines = [f"{pad}graph {title} {{"]
        for word, entries in (("input", graph.inputs), ("variable", graph.variables)):
            for entry in entries:
                lines.append(f"{pad}  {word} {self.parameter(entry, names)}: {entry.value.type}")
        for node in graph.nodes:
            lines.extend(self.node(node, names, pad + "  "))
        for word, results in (("return", graph.outputs), ("update", graph.updates)):
            for name, value in results:
                lines.append(f"{pad}  {word} {json.dumps(name)}={names[value]}")
        lines.append(f"{pad}}}")
        return lines

    def parameter(self, entry: Input, names: dict[Value, str]) -> str:
        """An input's or a variable's value, and its name unless that is the same."""
        name = f"%{_word(entry.name, len(names))}" if self.pretty else f"%{len(names)}"
        taken = set(names.values()) if self.pretty else set()
        while name in taken:
            name = f"{name}_{len(names)}"
        names[entry.value] = name
        return name if self.pretty and name == f"%{entry.name}" else f"{name} {json.dumps(entry.name)}"

    def node(self, node: Node, names: dict[Value, str], pad: str) -> list[str]:
        """The line of a node, or the lines of one with a body."""
        arguments = [names[value] for value in node.inputs]
        results = []
        for value in node.outputs:
            names[value] = f"%{len(names)}"
            results.append(f"{names[value]}: {value.type}")
        place = (f" @{json.dumps(node.layer)}" if node.layer else "") + (
            f" #{json.dumps(node.source)}" if node.source and self.sources else ""
        )
        head = f"{pad}{', '.join(results)} = "
        if self.pretty and (short := self.short(node, arguments)):
            return [head + short + place]
        text = attributes_text(node.op, inline=self.inline, defaults=not self.pretty)
        head += f"{node.op.name}({', '.join(arguments)})" + (f" {{{text}}}" if text else "")
        body = node.op.fields.get("body")
        if isinstance(body, Graph):
            return [f"{head} {{", *self.graph(body, pad + "  "), f"{pad}}}{place}"]
        return [head + place]

    def short(self, node: Node, arguments: list[str]) -> str:
        """An infix operation or a number; "" for any other node."""
        if node.op.name in _SIGNS and not node.op.attribute_names:
            return f"{arguments[0]} {_SIGNS[node.op.name]} {arguments[1]}"
        if isinstance(node.op, Full):
            return _value_text(node.op.value, self.inline)
        return ""


def _word(name: str, number: int) -> str:
    """A name that a value may have: letters, digits and underscores, and unlike the numbers that results have."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return word if word and not word[0].isdigit() else f"p{number}_{word}".rstrip("_")


def attributes_text(op: Op, *, inline: int = INLINE_ELEMENTS, defaults: bool = True) -> str:
    """An op's attributes as the text form prints them on the op's own line: all but a body.

    Without `defaults` those that have their default are left out.
    """
    shown = []
    for name, value in op.fields.items():
        if isinstance(value, Graph):
            continue
        text = _value_text(value, inline)
        if defaults or text != _default_text(op, name):
            shown.append(f"{name}={text}")
    return ", ".join(shown)


def _default_text(op: Op, name: str) -> str | None:
    default = type(op).__dataclass_fields__[name].default
    return None if default is dataclasses.MISSING else _value_text(default, INLINE_ELEMENTS)


def _value_text(value: object, inline: int) -> str:
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
            inner = ", ".join(_value_text(item, inline) for item in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case ArrayAttribute(array=array):
            head = f"array {array.dtype} [{','.join(map(str, array.shape))}]"
            if array.size > inline:
                return f"{head} sha256 {value.digest}"
            return f"{head} hex {array.tobytes().hex() or '-'}"
    raise TypeError(f"Attribute {value!r} has no text form.")
