"""Packages whose members are imported when they are first asked for, so that a program pays only for what it uses.

Which they are stands in one place, the imports that a package shows to type checkers:

    if TYPE_CHECKING:
        from package.dense import Dense as Dense

        AvgPool1D = AveragePooling1D
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from compiler.collector import collection_paused

__all__ = ["Declared", "declared", "import_quickly", "on_demand"]

_IMPORT = re.compile(r"^    from ([\w.]+) import \w+ as (\w+)$", re.MULTILINE)
_ALIAS = re.compile(r"^    (\w+) = (\w+)$", re.MULTILINE)


class Declared(NamedTuple):
    """Public names and the modules they live in; further names for some of them."""

    homes: dict[str, str]
    aliases: dict[str, str]


def declared(package: str) -> Declared:
    """What a package, which is being imported, shows to type checkers; see the module's text. Sorted by name.

    Raises:
        ImportError: the package comes without its source text.
    """
    spec = sys.modules[package].__spec__
    # Not `isinstance(loader, importlib.abc.InspectLoader)`: that module takes 14 ms to import.
    get_source = getattr(spec and spec.loader, "get_source", None)
    source = get_source(package) if get_source else None
    if source is None:
        raise ImportError(f"'{package}' names its members in its source text. Fix: install graphcore with its sources.")
    block = source.partition("\nif TYPE_CHECKING:\n")[2]
    block = re.split(r"^(?=\S)", block, maxsplit=1, flags=re.MULTILINE)[0]
    homes = {name: module for module, name in _IMPORT.findall(block)}
    return Declared(dict(sorted(homes.items())), dict(_ALIAS.findall(block)))


def on_demand(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`.

    Args:
        package: its full name.
        homes: public names and the module that each lives in.
    """

    def member(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_quickly(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return member


@collection_paused()
def import_quickly(name: str) -> Any:
    """Import a module while the cycle collector rests: what modules make lives on, and is looked at for nothing."""
    return importlib.import_module(name)
