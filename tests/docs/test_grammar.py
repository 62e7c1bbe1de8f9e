"""docs/grammar.md: its examples are graphs and one graph; its grammar has every text that is printed or read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from grammar_recognizer import Grammar
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs

from compiler.ir import Builder
from compiler.ops.registry import OPS
from compiler.pipeline import run_pipeline
from compiler.text import ParseError, parse, to_text
from compiler.text_reader import INFIX
from compiler.types import TensorType

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "grammar.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```gcir\n(.*?)```", PAGE, re.DOTALL)
(RULES,) = re.findall(r"```text\n(file .*?)```", PAGE, re.DOTALL)
GRAMMAR = Grammar(RULES)
FILES = [*(ROOT / "docs").glob("*.graph"), *(ROOT / "tests").rglob("*.gcir")]


def test_the_examples_are_one_graph_in_the_forms_that_the_page_says():
    pretty, generic, by_hand = map(parse, EXAMPLES)
    assert pretty == generic == by_hand
    assert to_text(generic) == EXAMPLES[1]
    assert to_text(generic, pretty=True) == EXAMPLES[0]
    assert all(GRAMMAR.accepts(text) for text in EXAMPLES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_follow_the_grammar(path):
    assert GRAMMAR.accepts(path.read_text(encoding="utf-8"))


@settings(max_examples=60, deadline=None)
@given(graph=graphs(gradients=True), optimize=st.booleans())
def test_what_is_printed_follows_the_grammar(graph, optimize):
    graph = run_pipeline(graph) if optimize else graph
    for pretty in (False, True):
        assert GRAMMAR.accepts(to_text(graph, pretty=pretty))


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_follows_the_grammar(name):
    for op, arrays in OPS[name].samples():
        b = Builder("one")
        inputs = [b.input(f"x{i}", TensorType(a.shape, a.dtype.name)) for i, a in enumerate(arrays)]
        for i, value in enumerate(b.emit_all(op, *inputs)):
            b.output(f"y{i}", value)
        for pretty in (False, True):
            assert GRAMMAR.accepts(to_text(b.build(), pretty=pretty))


BASE = """graph g {
  input %x: f32[2*n,3]
  variable %w "a b": f32[3]
  %2: f32[2*n] = reduce_sum(%x) {axes=(1,)} @"layer" #"a.py:1" // why
  %3: f32[2*n] = -0.5
  %4 = %2 * %3
  return "y"=%4
}
"""


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_what_is_read_follows_the_grammar(data):
    at = data.draw(st.integers(0, len(BASE) - 1))
    length = data.draw(st.integers(0, 5))
    put = data.draw(st.text(alphabet='%"{}()[],:=#@ \n\\x0n-./*+', max_size=4))
    text = BASE[:at] + put + BASE[at + length :]
    try:
        parse(text)
    except ParseError:
        return
    assert GRAMMAR.accepts(text)


@pytest.mark.parametrize(
    "line",
    ["%4 %2 * %3", "%4 = (%2)", "%4 = %2 * 3", "%4 = sum(%2,,%3)", "%4 = sum(%2) {axes}", "return %4", "4 = %2",
     "%4 = reduce_sum(%x) {axes=(1,))", "%4 = reduce_sum(%x) {axes=(1,}}", "%4 = reduce_sum(%x) {axes=[1,)}"]
)  # fmt: skip
def test_what_is_no_graph_is_neither_read_nor_in_the_grammar(line):
    text = BASE.replace("%4 = %2 * %3", line)
    assert not GRAMMAR.accepts(text)
    with pytest.raises(ParseError):
        parse(text)


@pytest.mark.parametrize("size", ["--2*n", "2*-(-n)", "-n + 3*n", "2*max(-1, n)"])
def test_signs_in_sizes(size):
    text = BASE.replace("2*n", size)
    assert GRAMMAR.accepts(text)
    parse(text)


def test_the_page_names_every_sign():
    for sign, name in INFIX.items():
        assert f"`{sign}` {name}" in PAGE
        assert GRAMMAR.accepts(BASE.replace("%2 * %3", f"%2 {sign} %3"))
