"""Packages whose members are imported when they are first asked for, so that a program pays only for what it uses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from compiler.collector import collection_paused

__all__ = ["import_quickly", "on_demand"]


def on_demand(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`.

    Args:
        package: its full name.
        homes: public names and the module of the package, or `other.module` outside of it, that each lives in.
    """

    def member(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        value = getattr(import_quickly(home if "." in home else f"{package}.{home}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return member


@collection_paused()
def import_quickly(name: str) -> Any:
    """Import a module while the cycle collector rests: what modules make lives on, and is looked at for nothing."""
    return importlib.import_module(name)
