"""What every stage of a compilation offers for looking at it."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from compiler.inspect.sheet import Sheet, html_of, renderable_of

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Stage"]


class Stage(abc.ABC):
    """One stage: a short `repr`, a table for terminals (`rich.print(stage)`) and notebooks, plain data behind it."""

    name: str

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Everything as dicts, lists, texts, numbers and booleans, which JSON can hold. Sizes that depend on symbols
        are texts that `runtime.dimensions.parse_dim` reads."""

    @abc.abstractmethod
    def sheet(self) -> Sheet:
        """The table, as text."""

    def table(self) -> RenderableType:
        """The table for `rich`."""
        return renderable_of(self.sheet())

    def __rich__(self) -> RenderableType:
        return self.table()

    def _repr_html_(self) -> str:
        return html_of(self.sheet())
