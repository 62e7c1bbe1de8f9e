"""What several commands read from the command line: numbers, and the models and graphs that they are about."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.ir import Graph
    from graphcore.models import Model

__all__ = ["SUBJECT_HELP", "load_subject", "positive", "read_graph"]

SUBJECT_HELP = "a saved model (.keras), a model in a script (script.py:name), or a graph (.gcir)"


def positive(text: str) -> int:
    """A positive integer on the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {value}")
    return value


def load_subject(text: str) -> Model | Graph:
    """The model or graph that `SUBJECT_HELP` describes.

    A script is run as by `python script.py`, but under another `__name__`, so what stands behind
    `if __name__ == "__main__"` is left out; `name` is a model or a function without arguments that returns one.

    Raises:
        ValueError: if the file has no such thing, or is of none of these kinds.
        OSError: if it cannot be read.
    """
    path, _, name = text.partition(":")
    kind = Path(path).suffix
    if kind == ".gcir":
        return read_graph(Path(path).read_text(encoding="utf-8"))
    if kind == ".keras":
        from graphcore.models import load_model

        model: Model = load_model(path)
        return model
    if kind == ".py" and name:
        return _model_of_script(path, name)
    raise ValueError(f"expected {SUBJECT_HELP}. Received: {text!r}")


def read_graph(text: str) -> Graph:
    """The graph that a text is; says on stderr where random numbers stand in for constants given by hash only.

    Raises:
        ParseError: if it is no graph.
    """
    from compiler.instruments.files import graph_of_text

    graph, missing = graph_of_text(text)
    if missing:
        count = f"{len(missing)} constant{'s' if len(missing) > 1 else ''}"
        print(f"graphcore: random numbers stand in for {count} given by hash only", file=sys.stderr)
    return graph


def _model_of_script(path: str, name: str) -> Model:
    from graphcore.models import Model

    if not Path(path).exists():
        raise FileNotFoundError(f"there is no script {path!r}")
    names = runpy.run_path(path, run_name=Path(path).stem)
    if name not in names:
        models = ", ".join(sorted(key for key, value in names.items() if isinstance(value, Model))) or "none"
        raise ValueError(f"{path} defines no {name!r}. Models it defines: {models}")
    found = names[name]
    model = found() if callable(found) and not isinstance(found, Model) else found
    if not isinstance(model, Model):
        kind = type(model).__name__
        raise ValueError(f"{name!r} in {path} is neither a model nor a function that returns one, but a {kind}")
    return model
