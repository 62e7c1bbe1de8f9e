"""Forgetting what this process has counted."""

from __future__ import annotations

from graphcore.naming import reset_names
from graphcore.random import set_global_seed


def clear_session(free_memory: bool = True) -> None:
    """Number names from the start again and forget the global random state.

    There is no global graph: models are freed when nothing refers to them, with or without this.
    """
    reset_names()
    set_global_seed(None)
