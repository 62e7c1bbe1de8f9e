"""Reads the text form of a graph; see `compiler.text` for the grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

import compiler.ops.fused
import compiler.passes.differentiate  # noqa: F401  (registers the op `gradient`)
from compiler.ir import Builder, Graph, Op, Value
from compiler.ops.registry import OPS
from compiler.ops.sources import ArrayAttribute
from compiler.types import parse_type
from runtime.dimensions import parse_dim

INLINE_ELEMENTS = 64

# What the pretty form writes between its two operands.
INFIX = {
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power",
    "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal",
    "&": "logical_and", "|": "logical_or",
}  # fmt: skip

_PARAMETER = re.compile(r'(input|variable)\s+(%\w+)(?:\s*("(?:[^"\\]|\\.)*"))?\s*:\s*(.+)\Z')
_VALUE_NAME = re.compile(r"%\w+\Z")
_RESULT = re.compile(r'(return|update)\s*("(?:[^"\\]|\\.)*")\s*=\s*(%\w+)\Z')
_NODE = re.compile(r'([^"=]+?)\s*=\s*(\w+)\s*\(([^()]*)\)\s*(.*)\Z')
_INFIX_NODE = re.compile(r'([^"=]+?)\s*=\s*(%\w+)\s*([-+*/<>=!&|]+)\s*(%\w+)(.*)\Z')
_LITERAL = r"True|False|nan|-?inf|-?\d+(?:\.\d*)?(?:e[+-]?\d+)?"
_NUMBER_NODE = re.compile(rf'(%\w+)\s*:\s*([^"=]+?)\s*=\s*({_LITERAL})((?:\s.*)?)\Z')
_PLACE = re.compile(r'\s*(?:@\s*("(?:[^"\\]|\\.)*"))?\s*(?:#\s*("(?:[^"\\]|\\.)*"))?\Z')
PLAIN_NAME = re.compile(r"[\w./:-]+\Z", re.ASCII)
_HEAD = re.compile(r'graph\s+([\w./:-]+|"(?:[^"\\]|\\.)*")\s*\{\Z')
_ARRAY = re.compile(r"array\s+(\w+)\s*\[([\d,\s]*)\]\s*(hex|sha256)\s+(\S+)\Z")
_INTEGER = re.compile(r"-?\d+\Z")
_FLOAT = re.compile(r"-?(?:\d+\.\d*|\d+)(?:e[+-]?\d+)?\Z|-?inf\Z|nan\Z")


class ParseError(ValueError):
    """Text that is no graph; the message has the line number and the line."""


def parse(text: str, constants: Mapping[str, ArrayAttribute] | None = None) -> Graph:
    """Read a graph. `constants` holds the arrays that the text names by hash.

    Raises:
        ParseError: with the line, for text that does not follow the grammar, unknown ops or attributes,
            undefined values, and types that the op's rule does not give.
    """
    reader = _Reader(text, constants or {})
    graph = reader.graph()
    if reader.peek() is not None:
        raise reader.error("expected the end of the text after the graph")
    return graph


class _Written(NamedTuple):
    """A node as it is written: its results with their types, its op, its operands, and what follows them."""

    results: str
    op: str
    inputs: list[str]
    rest: str
    attributes: dict[str, object] | None = None


class _Reader:
    def __init__(self, text: str, constants: Mapping[str, ArrayAttribute]) -> None:
        stripped = [(number, _without_comment(line)) for number, line in enumerate(text.split("\n"), 1)]
        self.lines = [(number, line) for number, line in stripped if line]
        self.at = 0
        self.constants = constants

    def peek(self) -> str | None:
        return self.lines[self.at][1] if self.at < len(self.lines) else None

    def error(self, message: str) -> ParseError:
        if self.at < len(self.lines):
            number, line = self.lines[self.at]
            return ParseError(f"line {number}: {message}. Received: {line!r}")
        return ParseError(f"{message}. Received: the end of the text")

    def graph(self) -> Graph:
        """One graph, from its head to its closing brace."""
        head = _HEAD.match(self.peek() or "")
        if head is None:
            raise self.error("expected 'graph NAME {'")
        b = Builder(json.loads(head[1]) if head[1].startswith('"') else head[1])
        known: dict[str, Value] = {}
        self.at += 1
        while (line := self.peek()) is not None and not line.startswith("}"):
            try:
                self._statement(b, known, line)
            except ParseError:
                raise
            except (ValueError, TypeError, KeyError) as error:
                raise self.error(str(error)) from error
        if line != "}":
            raise self.error("expected '}' at the end of the graph")
        self.at += 1
        return b.build()

    def _statement(self, b: Builder, known: dict[str, Value], line: str) -> None:
        if match := _PARAMETER.match(line):
            declare = b.input if match[1] == "input" else b.variable
            name = json.loads(match[3]) if match[3] else match[2][1:]
            self._define(known, match[2], declare(name, parse_type(match[4])))
            self.at += 1
        elif match := _RESULT.match(line):
            name, value = json.loads(match[2]), self._value(known, match[3])
            if match[1] == "return":
                b.output(name, value)
            else:
                b.update(name, value)
            self.at += 1
        elif match := _NODE.match(line):
            self._node(b, known, _Written(match[1], match[2], _split(match[3]), match[4]))
        elif (match := _INFIX_NODE.match(line)) and match[3] in INFIX:
            self._node(b, known, _Written(match[1], INFIX[match[3]], [match[2], match[4]], match[5]))
        elif match := _NUMBER_NODE.match(line):
            type_ = parse_type(match[2])
            attributes = {"shape": type_.shape, "value": self._attribute(match[3]), "dtype": type_.dtype}
            self._node(b, known, _Written(f"{match[1]}: {match[2]}", "full", [], match[4], attributes))
        else:
            raise self.error("expected an input, a variable, a node, a return or an update")

    def _node(self, b: Builder, known: dict[str, Value], written: _Written) -> None:
        start = self.at
        inputs = tuple(self._value(known, name) for name in written.inputs)
        cls = OPS.get(written.op)
        if cls is None:
            raise self.error(f"unknown op '{written.op}'")
        attributes, rest = self._attributes_and_body(written)
        place = _PLACE.match(rest)
        end, self.at = self.at, start
        if place is None:
            raise self.error(f'expected @"layer" #"file:line" or nothing after the node, not {rest!r}')
        layer, source = (json.loads(text) if text else "" for text in place.groups())
        with b.scope(layer=layer, source=source):
            outputs = b.emit_all(self._op(cls, attributes), *inputs)
        self._results(known, written, outputs)
        self.at = end

    def _attributes_and_body(self, written: _Written) -> tuple[dict[str, object], str]:
        """The attributes of a node, and the text behind them; goes on to the line after the node."""
        if not written.rest.endswith("{"):
            attributes, rest = self._attributes(written.rest)
            self.at += 1
            return (written.attributes or {}) | attributes, rest
        attributes, rest = self._attributes(written.rest[:-1].strip())
        if rest:
            raise self.error(f"expected nothing between the attributes and the body, not {rest!r}")
        self.at += 1
        attributes["body"] = self.graph()
        closing = self.peek() or ""
        if not closing.startswith("}"):
            raise self.error("expected '}' after the body")
        self.at += 1
        return attributes, closing[1:]

    def _results(self, known: dict[str, Value], written: _Written, outputs: tuple[Value, ...]) -> None:
        """Name the results; a type that is written must be the one that the op's rule gives."""
        declared = [part.partition(":") for part in re.split(r",\s*(?=%)", written.results)]
        if len(declared) != len(outputs):
            raise self.error(f"'{written.op}' has {len(outputs)} results, not {len(declared)}")
        for (name, colon, type_text), value in zip(declared, outputs, strict=True):
            if colon and parse_type(type_text) != value.type:
                raise self.error(f"{name.strip()} is declared {type_text.strip()}, the rule gives {value.type}")
            self._define(known, name.strip(), value)

    def _op(self, cls: type[Op], attributes: dict[str, object]) -> Op:
        make: type = cls
        op = make(**attributes)
        if not isinstance(op, Op):
            raise self.error(f"'{cls.name}' is no op")
        return op

    def _define(self, known: dict[str, Value], name: str, value: Value) -> None:
        if not _VALUE_NAME.match(name):
            raise self.error(f"expected a value such as %name, not {name!r}")
        if name in known:
            raise self.error(f"{name} is defined twice")
        known[name] = value

    def _value(self, known: dict[str, Value], name: str) -> Value:
        if name not in known:
            raise self.error(f"{name} is not defined")
        return known[name]

    def _attributes(self, text: str) -> tuple[dict[str, object], str]:
        if not text.startswith("{"):
            return {}, text
        end = _closing(text)
        found: dict[str, object] = {}
        for part in _split(text[1:end]):
            name, _, value = part.partition("=")
            found[name.strip()] = self._attribute(value.strip())
        return found, text[end + 1 :]

    def _attribute(self, text: str) -> object:
        words = {"True": True, "False": False, "None": None}
        if text in words:
            return words[text]
        if text.startswith('"'):
            return json.loads(text)
        if _INTEGER.match(text):
            return int(text)
        if _FLOAT.match(text):
            return float(text)
        if match := _ARRAY.match(text):
            return self._array(match)
        if text.startswith("(") and _closing(text) == len(text) - 1:
            parts = _split(text[1:-1])
            if not parts or len(parts) > 1 or text[-2] == ",":
                return tuple(self._attribute(part) for part in parts)
        return parse_dim(text)

    def _array(self, match: re.Match[str]) -> ArrayAttribute:
        if match[3] == "sha256":
            if match[4] not in self.constants:
                raise self.error("the array with this hash was not given")
            return self.constants[match[4]]
        shape = tuple(int(extent) for extent in match[2].split(",") if extent)
        data = b"" if match[4] == "-" else bytes.fromhex(match[4])
        return ArrayAttribute(np.frombuffer(data, match[1]).reshape(shape))


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """Positions and characters that stand in no quoted string."""
    in_string = escaped = False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif in_string and character == "\\":
            escaped = True
        elif character == '"':
            in_string = not in_string
        elif not in_string:
            yield position, character


def _without_comment(line: str) -> str:
    """The line up to a `//` outside strings that starts it or follows a space; elsewhere `//` is division."""
    for i, _ in _outside_strings(line):
        if line.startswith("//", i) and (i == 0 or line[i - 1].isspace()):
            return line[:i].strip()
    return line.strip()


_CLOSES = {")": "(", "]": "[", "}": "{"}


def _open_brackets(text: str) -> Iterator[tuple[int, str, str]]:
    """Positions and characters outside strings, each with the brackets that are open behind it."""
    opened = ""
    for position, character in _outside_strings(text):
        if character in "([{":
            opened += character
        elif character in _CLOSES:
            if not opened.endswith(_CLOSES[character]):
                raise ValueError(f"'{character}' closes no '{_CLOSES[character]}'")
            opened = opened[:-1]
        yield position, character, opened


def _closing(text: str) -> int:
    """Position of the bracket that closes the one that the text begins with."""
    for position, _, opened in _open_brackets(text):
        if not opened:
            return position
    raise ValueError("a bracket is not closed")


def _split(text: str) -> list[str]:
    """Parts between commas that are in no bracket and no string."""
    parts, start = [], 0
    for position, character, opened in _open_brackets(text):
        if character == "," and not opened:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    parts = [part.strip() for part in parts]
    if not parts[-1]:
        parts.pop()  # nothing at all, or behind the last comma
    if "" in parts:
        raise ValueError("there is nothing between two commas")
    return parts
