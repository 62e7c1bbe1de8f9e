"""Frozen dataclasses that are quick to define.

`dataclasses.dataclass(frozen=True, slots=True)` compiles six functions for a class, 0.6 ms, and the fifty such classes
that a warm start defines were a quarter of its imports. `record` compiles the constructor alone; the rest is here once.
What it makes is a dataclass (`dataclasses.replace`, `fields` and `match` work) with slots, which cannot be changed.
Reached: 0.17 ms a class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

__all__ = ["record"]

Class = TypeVar("Class", bound=type)


@overload
def record(cls: Class) -> Class: ...
@overload
def record(*, eq: bool = True) -> Callable[[Class], Class]: ...


@dataclass_transform(frozen_default=True)
def record(cls: Any = None, *, eq: bool = True) -> Any:
    """Make a class a frozen dataclass with slots.

    Args:
        cls: its annotations are the fields; a default is a plain value. `__post_init__` is called where it is defined.
        eq: whether records are equal when their fields are; otherwise when they are the same object.

    Raises:
        TypeError: for a field that is anything else than its annotation and a plain default, and with `eq` for a class
            that says itself what is equal.
    """
    return _made(cls, eq) if cls is not None else lambda decorated: _made(decorated, eq)


def _made(cls: Any, eq: bool) -> Any:
    defined = vars(cls)
    has_own_text, has_own_hash = "__repr__" in defined, "__hash__" in defined
    if eq and "__eq__" in defined:
        raise TypeError(f"{cls.__name__} says itself what is equal: make it a record with eq=False")
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    fields = dataclasses.fields(made)
    if not all(map(_is_plain, fields)):
        raise TypeError(f"a record's fields are given or have plain defaults; use a dataclass for {cls.__name__}")
    made.__init__ = _constructor(made, fields)
    made.__setattr__, made.__delattr__, made.__reduce__ = _refuse_change, _refuse_removal, _reduce
    if not has_own_text:
        made.__repr__ = _text
    if eq:
        # Of one field, `attrgetter` gives the value itself, which compares and hashes as well. Without fields, all
        # records of a class are equal.
        key = attrgetter(*([field.name for field in fields] or ["__class__"]))
        made.__eq__ = _equality(key)
        if not has_own_hash:
            made.__hash__ = lambda self: hash(key(self))
    return made


def _is_plain(field: dataclasses.Field[Any]) -> bool:
    """Whether a field takes part in everything, and has a plain default if any."""
    takes_part = field.init and field.compare and field.repr and field.hash is None and not field.kw_only
    return takes_part and field.default_factory is dataclasses.MISSING


def _constructor(cls: Any, fields: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    """`__init__`, compiled: the generic one takes several times as long, and passes make records by the thousand."""
    names: dict[str, Any] = {"put": object.__setattr__}
    parameters, lines = ["self"], []
    for field in fields:
        parameter = field.name
        if field.default is not dataclasses.MISSING:
            names[f"default_{field.name}"] = field.default
            parameter += f"=default_{field.name}"
        parameters.append(parameter)
        lines.append(f" put(self, {field.name!r}, {field.name})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec("\n".join((f"def __init__({', '.join(parameters)}):", *lines, " return None")), names)
    function: Callable[..., None] = names["__init__"]
    function.__qualname__ = f"{cls.__qualname__}.__init__"
    function.__module__ = cls.__module__
    return function


def _equality(key: Callable[[Any], Any]) -> Callable[[Any, object], bool]:
    def equals(self: Any, other: object) -> bool:
        return bool(key(self) == key(other)) if other.__class__ is self.__class__ else NotImplemented

    return equals


def _text(self: Any) -> str:
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({values})"


def _reduce(self: Any) -> tuple[Any, ...]:
    return type(self), tuple(getattr(self, name) for name in self.__match_args__)


def _refuse_change(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_removal(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
