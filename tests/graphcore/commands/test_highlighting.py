"""Text of graphs on a terminal has colours, and the same words; anywhere else it is as it is."""

from __future__ import annotations

import re

import pytest

from graphcore.commands.highlighting import show

LONG = "  %2: f32[3] = exp(%x) @" + '"' + "long " * 60 + 'end"\n'
TEXT = f"graph g {{\n  input %x: f32[3]\n{LONG}" + '  return "y"=%2\n}\n'
DIFF = '~ return "y"\n- %1: f32[n] = exp("x")\n+ %1: f32[n] = [bold]("x")\n'
ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.mark.parametrize(("text", "language"), [(TEXT, "gcir"), (DIFF, "diff")])
def test_colours_on_a_terminal_only(text, language, capsys, monkeypatch):
    show(text, language)
    assert capsys.readouterr().out == text
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    show(text, language)
    shown = capsys.readouterr().out
    assert ESCAPE.search(shown)
    assert ESCAPE.sub("", shown) == text, "long lines are neither cut nor broken"
