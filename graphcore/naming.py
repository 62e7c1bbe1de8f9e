"""Names of layers and operations: snake-case class names, numbered per process."""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterator

from compiler.ops.registry import snake_case

_NUMBER_USED: collections.Counter[str] = collections.Counter()


def to_snake_case(name: str) -> str:
    """`Conv2DTranspose` -> `conv2d_transpose`."""
    return snake_case(name)


def uniquify(name: str) -> str:
    """The name itself the first time it is asked for in this process, then `name_1`, `name_2`, ..."""
    number = _NUMBER_USED[name]
    _NUMBER_USED[name] += 1
    return f"{name}_{number}" if number else name


def auto_name(prefix: str) -> str:
    """A new name for an object of the class `prefix`."""
    return uniquify(to_snake_case(prefix))


def get_uid(prefix: str = "") -> int:
    """The next number of a prefix, counted from 1 (`keras.backend.get_uid`)."""
    _NUMBER_USED[prefix] += 1
    return _NUMBER_USED[prefix]


def reset_names() -> None:
    """Start numbering again."""
    _NUMBER_USED.clear()


class _Scopes(threading.local):
    def __init__(self) -> None:
        self.names: list[str] = []


_SCOPES = _Scopes()


@contextlib.contextmanager
def name_scope(name: str) -> Iterator[None]:
    """Variables and layers made inside have this name in front of their path."""
    _SCOPES.names.append(name)
    try:
        yield
    finally:
        _SCOPES.names.pop()


def current_path(name: str | None = None) -> str:
    """The names of the open scopes, outermost first, and `name` after them."""
    return "/".join([*_SCOPES.names, name] if name else _SCOPES.names)
