"""Objects of the user's that files may name. Files are never a reason to import anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from graphcore.identifiers import custom_objects, registered_name

T = TypeVar("T")


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """A decorator that lets files name a class or function as `package>name`.

    Raises:
        ValueError: if a class lacks `get_config`.
    """

    def register(thing: T) -> T:
        own = name or getattr(thing, "__name__", str(thing))
        if isinstance(thing, type) and not hasattr(thing, "get_config"):
            raise ValueError(
                f"Cannot register class {own}: it has no `get_config` method. Fix: define one that returns the "
                f"arguments "
                "of `__init__`."
            )
        custom_objects[f"{package}>{own}"] = thing
        return thing

    return register


def get_custom_objects() -> dict[str, Any]:
    """The registered objects by name; changing it registers and forgets."""
    return custom_objects


def get_registered_name(thing: Any) -> str:
    """`package>name` of a registered object, else its own name."""
    return registered_name(thing) or str(thing.__name__)


def get_registered_object(
    name: str, objects: Mapping[str, Any] | None = None, module_objects: Mapping[str, Any] | None = None
) -> Any:
    """The object registered under a name, or None."""
    for table in (objects, custom_objects, module_objects):
        if table and name in table:
            return table[name]
    return None


class CustomObjectScope(contextlib.AbstractContextManager["CustomObjectScope"]):
    """Inside, these objects are found by their names. What is registered inside stays registered.

    Args:
        objects: name -> class or function.
    """

    def __init__(self, objects: Mapping[str, Any] | None) -> None:
        self.objects = dict(objects or {})
        self._before: dict[str, Any] = {}

    def __enter__(self) -> CustomObjectScope:
        self._before = {name: custom_objects[name] for name in self.objects if name in custom_objects}
        custom_objects.update(self.objects)
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.objects:
            custom_objects.pop(name, None)
        custom_objects.update(self._before)


custom_object_scope = CustomObjectScope
