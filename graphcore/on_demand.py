"""Packages whose members are imported when they are first asked for, so that a program pays only for what it uses.

Which they are stands in one place, the imports that a package shows to type checkers:

    if TYPE_CHECKING:
        from package.dense import Dense as Dense

        AvgPool1D = AveragePooling1D
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from compiler.collector import collection_paused

__all__ = ["Declared", "declared", "import_quickly", "on_demand"]


class Declared(NamedTuple):
    """Public names and the modules they live in; further names for some of them."""

    homes: dict[str, str]
    aliases: dict[str, str]

    @property
    def names(self) -> list[str]:
        """All public names."""
        return [*self.homes, *self.aliases]


def declared(package: str) -> Declared:
    """What a package, which is being imported, shows to type checkers; see the module's text. Homes are sorted by name.

    A member whose home is the package itself is one of its modules.

    Raises:
        ImportError: the package comes without its source text, or shows something that is neither an import under a
            member's own name nor another name for a member: it would not be found.
    """
    homes: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for statement in _shown_statements(_source(package)):
        if not (_take_import(statement, homes) or _take_alias(statement, homes, aliases)):
            raise ImportError(
                f"'{package}' shows type checkers what would not be found when it runs: {statement}. "
                f"Fix: write `from module import Name as Name`, or, below it, `Other = Name`."
            )
    return Declared(dict(sorted(homes.items())), aliases)


def _shown_statements(source: str) -> Iterator[str]:
    """What stands under `if TYPE_CHECKING:`, without comments. By hand: expressions for it take longer to compile."""
    is_shown, statement = False, ""
    for line in source.splitlines():
        text = line.partition("#")[0].rstrip()
        if not text:
            continue
        if text[0] != " ":
            is_shown = text == "if TYPE_CHECKING:"
        elif is_shown:
            statement += text
            if statement.count("(") == statement.count(")"):
                yield statement.strip()
                statement = ""


def _take_import(statement: str, homes: dict[str, str]) -> bool:
    """Note the members that an import names; whether it is one, and gives no member another name."""
    start, _, names = statement.partition(" import ")
    word, _, home = start.partition(" ")
    if word != "from" or not home[:1].isidentifier():
        return False
    for entry in names.strip("()").split(","):
        match entry.split():
            case [name] if name.isidentifier():
                homes[name] = home
            case [name, "as", other] if name == other:
                homes[name] = home
            case [_, *_]:
                return False
    return True


def _take_alias(statement: str, homes: Mapping[str, str], aliases: dict[str, str]) -> bool:
    alias, _, name = statement.partition(" = ")
    if name not in homes:
        return False
    aliases[alias] = name
    return True


def _source(package: str) -> str:
    spec = sys.modules[package].__spec__
    # Not `isinstance(loader, importlib.abc.InspectLoader)`: that module takes 14 ms to import.
    get_source = getattr(spec and spec.loader, "get_source", None)
    source: str | None = get_source(package) if get_source else None
    if source is None:
        raise ImportError(f"'{package}' names its members in its source text. Fix: install graphcore with its sources.")
    return source


def on_demand(package: str, members: Declared) -> Callable[[str], Any]:
    """A package's `__getattr__`.

    Args:
        package: its full name.
        members: what it has.
    """

    def member(name: str) -> Any:
        original = members.aliases.get(name, name)
        if original not in members.homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = members.homes[original]
        is_module = home == package
        value = import_quickly(f"{package}.{original}") if is_module else getattr(import_quickly(home), original)
        setattr(sys.modules[package], name, value)
        return value

    return member


@collection_paused()
def import_quickly(name: str) -> Any:
    """Import a module while the cycle collector rests: what modules make lives on, and is looked at for nothing."""
    return importlib.import_module(name)
