"""Text of graphs on stdout: in colours on a terminal, as it is everywhere else."""

from __future__ import annotations

import sys
from typing import Literal

__all__ = ["show"]


def show(text: str, language: Literal["gcir", "diff"] = "gcir") -> None:
    """Print text; rich and Pygments are loaded only for a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.write(text)
        return
    from pygments.lexers.diff import DiffLexer
    from rich.console import Console
    from rich.syntax import Syntax

    from compiler.inspect.lexer import GraphLexer

    lexer = GraphLexer() if language == "gcir" else DiffLexer()
    coloured = Syntax("", lexer, theme="ansi_dark", background_color="default").highlight(text)
    coloured.rstrip()
    Console().print(coloured, soft_wrap=True)
