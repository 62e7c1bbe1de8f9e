"""The blocks of a model's drawing as shapes on paper, and as text in the DOT language."""

from __future__ import annotations

from typing import NamedTuple

from compiler.inspect.drawing import Arrow, Drawing, Rectangle, Shape, Text, text_width
from compiler.inspect.export import quoted
from compiler.inspect.layout import Layout, layered_layout
from graphcore.utils.model_plot import Block

__all__ = ["dot_text", "draw"]

_TITLE, _CELL = 11.0, 9.0  # sizes of letters
_PAD_X, _PAD_Y = 10.0, 5.0
_FRAME = 14.0  # between the frame of an opened model and what it holds

_HEAD, _HEAD_TEXT, _FRAME_FILL = "#1f2d3d", "#ffffff", "#eef3f8"
_COLORS = {"Trainable": "#1a7f37", "Non-trainable": "#b42318"}


class _Laid(NamedTuple):
    """An opened block: where what it holds lies, and what its size on paper is."""

    layout: Layout
    inner: tuple[_Laid | None, ...]
    sizes: tuple[tuple[float, float], ...]


def draw(block: Block, rankdir: str) -> Drawing:
    """A picture of a model's blocks, arrows going where `rankdir` says."""
    laid = _lay(block, rankdir)
    width, height = _paper(laid.layout.width, laid.layout.length, rankdir)
    return Drawing(width, height, tuple(_shapes(block, laid, rankdir, 0.0, 0.0)), f"model {block.name}")


def _paper(across: float, along: float, rankdir: str) -> tuple[float, float]:
    """Width and height of what has these extents."""
    return (across, along) if rankdir in ("TB", "BT") else (along, across)


def _lay(block: Block, rankdir: str) -> _Laid:
    import networkx  # here, since only drawings need it

    inner = tuple(_lay(part, rankdir) if part.inner else None for part in block.inner)
    sizes = tuple(_size(part, laid, rankdir) for part, laid in zip(block.inner, inner, strict=True))
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(len(block.inner)))
    graph.add_edges_from(_acyclic(block))
    # On paper to abstract axes: the same exchange both ways.
    layout = layered_layout(graph, {i: _paper(*size, rankdir) for i, size in enumerate(sizes)})
    return _Laid(layout, inner, sizes)


def _acyclic(block: Block) -> list[tuple[int, int]]:
    """The arrows; of a shared layer, which is drawn once, those backwards are left out: they would close a circle."""
    import networkx

    graph: networkx.DiGraph[int] = networkx.DiGraph()
    kept = []
    for start, end in block.edges:
        if graph.has_node(start) and graph.has_node(end) and networkx.has_path(graph, end, start):
            continue
        graph.add_edge(start, end)
        kept.append((start, end))
    return kept


def _size(block: Block, laid: _Laid | None, rankdir: str) -> tuple[float, float]:
    """Width and height of a block on paper."""
    width = text_width(block.title, _TITLE, bold=True) + 2 * _PAD_X
    height = _head_height()
    if block.cells:
        widths = [text_width(cell, _CELL) + 2 * _PAD_X for cell in block.cells]
        width = max(width, sum(widths))
        height += _CELL + 2 * _PAD_Y
    if laid is None:
        return width, height
    inside = _paper(laid.layout.width, laid.layout.length, rankdir)
    return max(width, inside[0] + 2 * _FRAME), height + inside[1] + 2 * _FRAME


def _head_height() -> float:
    return _TITLE + 2 * _PAD_Y


def _shapes(block: Block, laid: _Laid, rankdir: str, x: float, y: float) -> list[Shape]:
    """The shapes of what a block holds, with the corner of its paper at (x, y)."""
    shapes: list[Shape] = []
    along = laid.layout.length
    for points in laid.layout.edges.values():
        shapes.append(Arrow(tuple(_turned(point, along, rankdir, x, y) for point in points)))
    for number, part in enumerate(block.inner):
        place = laid.layout.boxes[number]
        width, height = laid.sizes[number]
        one = _turned((place.across, place.along), along, rankdir, x, y)
        two = _turned((place.across + place.width, place.along + place.length), along, rankdir, x, y)
        left, top = min(one[0], two[0]), min(one[1], two[1])
        shapes += _box(part, left, top, width, height)
        inside = laid.inner[number]
        if inside is not None:
            paper = _paper(inside.layout.width, inside.layout.length, rankdir)
            above = height - paper[1] - _FRAME
            shapes += _shapes(part, inside, rankdir, left + (width - paper[0]) / 2, top + above)
    return shapes


def _turned(point: tuple[float, float], along: float, rankdir: str, x: float, y: float) -> tuple[float, float]:
    """A point (across, along) on paper."""
    across, far = point
    if rankdir in ("BT", "RL"):
        far = along - far
    return (x + across, y + far) if rankdir in ("TB", "BT") else (x + far, y + across)


def _box(block: Block, x: float, y: float, width: float, height: float) -> list[Shape]:
    head = _head_height()
    shapes: list[Shape] = [
        Rectangle(x, y, width, height, fill=_FRAME_FILL if block.inner else "#ffffff", line=_HEAD),
        Rectangle(x, y, width, head, fill=_HEAD, line=_HEAD),
        Text(x + width / 2, y + head / 2, block.title, _TITLE, bold=True, color=_HEAD_TEXT),
    ]
    if not block.cells:
        return shapes
    row = _CELL + 2 * _PAD_Y
    widths = [text_width(cell, _CELL) + 2 * _PAD_X for cell in block.cells]
    more = (width - sum(widths)) / len(widths)
    for cell, own in zip(block.cells, widths, strict=True):
        shapes.append(Rectangle(x, y + head, own + more, row, line=_HEAD))
        middle = (x + (own + more) / 2, y + head + row / 2)
        shapes.append(Text(*middle, cell, _CELL, color=_COLORS.get(cell, "#111111")))
        x += own + more
    return shapes


def dot_text(block: Block, rankdir: str, dpi: float, subgraph: bool, splines: str) -> str:
    """A model's blocks in the DOT language (Gansner and North 2000)."""
    head = "subgraph" if subgraph else "digraph"
    name = f"cluster_{block.name}" if subgraph else block.name
    lines = [f"{head} {quoted(name)} {{"]
    if subgraph:
        lines.append(f"  label={quoted(block.name)};")
    else:
        lines += [f"  rankdir={rankdir};", f"  dpi={dpi:g};", f"  splines={quoted(splines)};", "  compound=true;"]
    lines.append("  node [shape=record, fontname=Helvetica];")
    lines += _dot_lines(block, "n", "  ")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_lines(block: Block, prefix: str, pad: str) -> list[str]:
    lines = []
    for number, part in enumerate(block.inner):
        name = f"{prefix}{number}"
        if part.inner:
            label = quoted(" | ".join((part.title, *part.cells)))
            lines += [f"{pad}subgraph cluster_{name} {{", f"{pad}  label={label};"]
            lines += [*_dot_lines(part, f"{name}_", pad + "  "), f"{pad}}}"]
        else:
            cells = "|".join(_record(cell) for cell in part.cells)
            label = _record(part.title) + (f"|{{{cells}}}" if cells else "")
            # The outer braces turn the record by a quarter, so that cells lie below the title.
            lines.append(f"{pad}{name} [label={_in_quotes('{' + label + '}')}];")
    for start, end in block.edges:
        tail, first = _ends(block.inner[start], f"{prefix}{start}", last=True)
        head, second = _ends(block.inner[end], f"{prefix}{end}", last=False)
        clusters = [f"ltail={first}"] * bool(first) + [f"lhead={second}"] * bool(second)
        lines.append(f"{pad}{tail} -> {head}" + (f" [{', '.join(clusters)}]" if clusters else "") + ";")
    return lines


def _ends(block: Block, name: str, *, last: bool) -> tuple[str, str]:
    """The box at which an arrow from or to a block ends, and the cluster that it is cut off at."""
    if not block.inner:
        return name, ""
    number = len(block.inner) - 1 if last else 0
    return _ends(block.inner[number], f"{name}_{number}", last=last)[0], f"cluster_{name}"


def _record(text: str) -> str:
    """A text as a label of a record has it."""
    return "".join(f"\\{letter}" if letter in '\\{}|<> "' else letter for letter in text.replace("\n", " "))


def _in_quotes(label: str) -> str:
    return f'"{label}"'
