"""Colours of the text form: nothing is lost, nothing is an error, and the parts are told apart."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pygments.token import Comment, Error, Keyword, Name, Number, String
from random_graphs import graphs

from compiler.inspect.lexer import GraphLexer
from compiler.pipeline import run_pipeline
from compiler.text import to_text

LINE = '  %2: f32[2*n//2,10] = matmul(%x, %w) {transpose_b=True, name="a"} @"dense" #"a.py:1" // why'


def tokens(text: str) -> dict[str, object]:
    return {value: kind for kind, value in GraphLexer().get_tokens(text)}


def test_the_parts_of_a_line():
    found = tokens(f'graph net {{\n  input %x "x": f32[3]\n{LINE}\n  return "y"=%2\n}}\n')
    expected = {
        "graph": Keyword.Declaration, "net": Name.Namespace, "input": Keyword, "return": Keyword,
        "f32": Keyword.Type, "%2": Name.Variable, "matmul": Name.Function, "transpose_b": Name.Attribute,
        "True": Keyword.Constant, '"a"': String.Double, '"dense"': Name.Label, '"a.py:1"': Comment.Special,
        "10": Number.Integer, "// why": Comment.Single,
    }  # fmt: skip
    assert {text: found[text] for text in expected} == expected
    assert "//2" not in found, "a division is no comment"


@settings(max_examples=30, deadline=None)
@given(graph=graphs(gradients=True), pretty=st.booleans())
def test_graphs_have_no_text_that_the_lexer_does_not_know(graph, pretty):
    for text in (to_text(graph, pretty=pretty), to_text(run_pipeline(graph), pretty=pretty)):
        pairs = list(GraphLexer(ensurenl=False, stripnl=False).get_tokens(text))
        assert "".join(value for _, value in pairs) == text
        assert not [value for kind, value in pairs if kind in Error]


def test_pygments_is_told_of_it():
    project = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, name = project["project"]["entry-points"]["pygments.lexers"]["gcir"].partition(":")
    assert getattr(import_module(module), name) is GraphLexer
    assert GraphLexer.aliases == ["gcir"]
    assert GraphLexer.filenames == ["*.gcir"]
