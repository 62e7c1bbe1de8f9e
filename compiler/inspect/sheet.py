"""A table of text, for the terminal and for notebooks: one description, drawn twice."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from runtime.records import record

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["HTML_BYTES", "Sheet", "html_of", "renderable_of"]

HTML_BYTES = 150_000  # of rows in HTML, from which on the others are only counted
_LONGEST_CELL = 300  # characters
_MOST_NOTES = 20

_STYLE = (
    "border-collapse:collapse;font-family:ui-monospace,monospace;font-size:12px;font-variant-numeric:tabular-nums"
)
_CELL = "padding:1px 10px 1px 0;text-align:{};vertical-align:top;white-space:pre-wrap"


@record
class Sheet:
    """A title, columns, rows of cells, and lines of text below. Columns in `right` hold numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def renderable_of(sheet: Sheet) -> RenderableType:
    """The sheet for `rich`; nothing in it is read as markup."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(sheet.title), title_justify="left", box=None, pad_edge=False)
    for column in sheet.columns:
        table.add_column(Text(column), justify="right" if column in sheet.right else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(Text(cell) for cell in row))
    return Group(table, *(Text(note) for note in sheet.notes))


def html_of(sheet: Sheet) -> str:
    """The sheet as HTML: escaped, without scripts or addresses, below 200 kB however many rows there are."""
    aligned = [_CELL.format("right" if column in sheet.right else "left") for column in sheet.columns]
    head = "".join(
        f'<th style="{style}">{_cell(column)}</th>' for column, style in zip(sheet.columns, aligned, strict=True)
    )
    rows: list[str] = []
    room = HTML_BYTES
    for row in sheet.rows:
        cells = (f'<td style="{style}">{_cell(cell)}</td>' for cell, style in zip(row, aligned, strict=True))
        text = f"<tr>{''.join(cells)}</tr>"
        room -= len(text.encode())
        if room < 0:
            break
        rows.append(text)
    notes = [f"… and {len(sheet.rows) - len(rows)} more rows; to_dict() has them all."] * (len(rows) < len(sheet.rows))
    notes += sheet.notes[:_MOST_NOTES]
    if len(sheet.notes) > _MOST_NOTES:
        notes.append(f"… and {len(sheet.notes) - _MOST_NOTES} more lines.")
    below = "".join(f"<div>{_cell(note)}</div>" for note in notes)
    caption = f'<caption style="text-align:left;font-weight:bold">{_cell(sheet.title)}</caption>'
    return (
        f'<div><table style="{_STYLE}">{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>{below}</div>"
    )


def _cell(text: str) -> str:
    return html.escape(text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…")
