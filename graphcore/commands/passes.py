"""The passes that a command line names: the compiler's own, and those of the user's scripts."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Sequence
from pathlib import Path

from compiler.pipeline import PIPELINE, Pass

__all__ = ["available_passes", "chosen_passes"]


def available_passes(scripts: Sequence[str] = ()) -> tuple[Pass, ...]:
    """The compiler's passes in order, and those of scripts: a script's pass takes the place of one that has its name,
    and the others come last.

    Raises:
        ValueError: for a script without a function of `(graph, context)`.
        FileNotFoundError: if there is no such script.
    """
    passes = list(PIPELINE)
    for script in scripts:
        loaded = _passes_in(script)
        by_name = {pass_.__name__: pass_ for pass_ in loaded}
        known = {pass_.__name__ for pass_ in passes}
        passes = [by_name.get(pass_.__name__, pass_) for pass_ in passes]
        passes.extend(pass_ for name, pass_ in by_name.items() if name not in known)
    return tuple(passes)


def chosen_passes(passes: Sequence[Pass], names: Sequence[str] | None) -> tuple[Pass, ...]:
    """The passes of these names in this order; None is all.

    Raises:
        ValueError: for a name that no pass has.
    """
    if names is None:
        return tuple(passes)
    table = {pass_.__name__: pass_ for pass_ in passes}
    words = [name.strip() for name in names if name.strip()]
    unknown = [word for word in words if word not in table]
    if unknown:
        raise ValueError(
            f"no pass is named {', '.join(unknown)}. Passes: {', '.join(table)}. --load script.py adds the passes of a "
            "script"
        )
    return tuple(table[word] for word in words)


def _passes_in(script: str) -> list[Pass]:
    if not Path(script).exists():
        raise FileNotFoundError(f"there is no script {script!r}")
    stem = Path(script).stem
    names = runpy.run_path(script, run_name=stem)
    found: list[Pass] = [
        value
        for name, value in names.items()
        if inspect.isfunction(value)
        and value.__module__ == stem
        and not name.startswith("_")
        and list(inspect.signature(value).parameters) == ["graph", "context"]
    ]
    if not found:
        raise ValueError(f"{script} defines no pass: a function with the parameters (graph, context)")
    return found
