"""Colours for the text form of graphs: a Pygments lexer for `.gcir`, which Pygments finds by its entry point."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text, Whitespace

__all__ = ["GraphLexer"]

_by_groups: Callable[..., object] = bygroups  # which has no types
_STRING = r'"(?:[^"\\\n]|\\.)*"'


class GraphLexer(RegexLexer):
    """Graphs of the compiler as text, in either form; see docs/grammar.md."""

    name = "graphcore IR"
    url = ""
    aliases: ClassVar[list[str]] = ["gcir"]
    filenames: ClassVar[list[str]] = ["*.gcir"]
    mimetypes: ClassVar[list[str]] = ["text/x-gcir"]

    tokens: ClassVar[dict[str, list[tuple[object, ...]]]] = {
        "root": [
            (r"\n", Whitespace),
            (r"(?:(?<=\s)|^)//[^\n]*", Comment.Single),
            (r"[^\S\n]+", Whitespace),
            (rf"(graph)(\s+)([\w./:-]+|{_STRING})", _by_groups(Keyword.Declaration, Whitespace, Name.Namespace)),
            (r"(input|variable|return|update)\b(?!=)", Keyword),
            (rf"(@)({_STRING})", _by_groups(Punctuation, Name.Label)),
            (rf"(#)({_STRING})", _by_groups(Punctuation, Comment.Special)),
            (_STRING, String.Double),
            (r"%\w+", Name.Variable),
            (r"(?:f16|f32|f64|[iu](?:8|16|32|64)|bool)(?=\[)", Keyword.Type),
            (r"(array)(\s+)(\w+)", _by_groups(Keyword.Pseudo, Whitespace, Keyword.Type)),
            (r"(hex)(\s+)([0-9a-f]+|-)", _by_groups(Keyword.Pseudo, Whitespace, Number.Hex)),
            (r"(sha256)(\s+)([0-9a-f]+)", _by_groups(Keyword.Pseudo, Whitespace, Number.Hex)),
            (r"\b(True|False|None|inf|nan)\b", Keyword.Constant),
            (r"[a-z_]\w*(?=\()", Name.Function),
            (r"[a-z_]\w*(?==)", Name.Attribute),
            (r"\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+", Number.Float),
            (r"\d+", Number.Integer),
            (r"[a-zA-Z_][\w.]*", Name),
            (r"[-+*/<>=!&|]+", Operator),
            (r"[(){}\[\],:]", Punctuation),
            (r".", Text),
        ],
    }
