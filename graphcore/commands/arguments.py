"""What several commands read from the command line: numbers, and the models and graphs that they are about."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.ir import Graph
    from graphcore.models import Model

__all__ = ["SUBJECT_HELP", "TYPICAL_EXTENT", "check_options", "load_subject", "positive", "read_graph", "size"]

TYPICAL_EXTENT = 32  # what `compiler.passes.schedule` has; this module is imported before it must be
SUBJECT_HELP = "a saved model (.keras), a model in a script (script.py:name), or a graph (.gcir)"


def positive(text: str) -> int:
    """A positive integer on the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {value}")
    return value


def size(text: str) -> tuple[str, int]:
    """A symbol's size on the command line: `batch=64`."""
    name, _, value = text.partition("=")
    if not name or not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"expected SYMBOL=VALUE such as batch=64, got {text!r}")
    return name, int(value)


def check_options(
    options: argparse.Namespace, subject: Model | Graph, of_models: Sequence[str], of_graphs: Sequence[str] = ("size",)
) -> None:
    """Refuse what was asked for and would do nothing.

    Args:
        options: with None, an empty list or False for options that were not given.
        subject: what the command is about.
        of_models: options that only mean something with a model.
        of_graphs: options that only mean something with a graph.

    Raises:
        ValueError: if one was given with the other kind of subject.
    """
    from compiler.ir import Graph

    kinds = ("model", "graph") if isinstance(subject, Graph) else ("graph", "model")
    for name in of_models if isinstance(subject, Graph) else of_graphs:
        if getattr(options, name) not in (None, [], False):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} is for a {kinds[0]}, and {options.subject} is a {kinds[1]}: leave it out")


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
