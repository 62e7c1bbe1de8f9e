"""Sphinx: `make docs` builds the pages into docs/_build/html; a warning is an error."""

from __future__ import annotations

from sphinx.application import Sphinx

from compiler.inspect.lexer import GraphLexer
from graphcore import __version__

project = "graphcore"
author = "the graphcore engineers"
release = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "graphcore"
html_show_copyright = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """The colours of graphs, known to Pygments by itself only where the package is installed."""
    app.add_lexer("gcir", GraphLexer)
