"""The table that `model.summary()` prints, in Keras 3's form."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from compiler.types import item_size
from graphcore import tree
from graphcore.layers.layer import Layer
from graphcore.operation import Node

if TYPE_CHECKING:
    from graphcore.models.model import Model

_NUMBER, _UNKNOWN, _TYPE, _NO = "color(34)", "color(45)", "color(33)", "color(9)"


def print_summary(
    model: Model,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Print the summary of a model; arguments as for `Model.summary`.

    Raises:
        ValueError: if the width is too small or `layer_range` names no layers.
    """
    # Rich costs as much to import as NumPy; only what prints tables needs it.
    from rich.console import Console

    table = _Table(model, positions, expand_nested, show_trainable)
    rows = table.rows(layer_range)
    if print_fn is None:
        console = Console(highlight=False)
    else:
        console = Console(highlight=False, force_terminal=False, color_system=None)
        console.begin_capture()
    console.print(f'[bold]Model: "{_escape(model.name)}"[/]')
    console.print(table.render(rows, line_length))
    for line in _totals(model):
        console.print(line)
    if print_fn is not None:
        print_fn(console.end_capture())


def readable_size(size: float) -> str:
    """Bytes as text: '668.00 B', '1.04 MB'."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


class _Table:
    """Columns and rows of the summary."""

    def __init__(
        self, model: Model, positions: Sequence[float] | None, expand_nested: bool, show_trainable: bool
    ) -> None:
        self.graph = model.graph
        self.members: list[Any] = model.layers
        self.expand_nested, self.show_trainable = expand_nested, show_trainable
        self.is_chain = self.graph is None or hasattr(model, "_stack")
        if self.graph is not None and not self.is_chain:
            self.members = model.operations
            self.is_chain = _is_chain(self.graph.nodes_by_depth, model.layers)
        self.header = ["Layer (type)", "Output Shape", "Param #"]
        self.justify = ["left", "left", "right"]
        self.width = 88
        self.positions = list(positions or [0.45, 0.80, 1.0])
        if not self.is_chain:
            self.header.append("Connected to")
            self.justify.append("left")
            self.width = 108
            self.positions = list(positions or [0.3, 0.56, 0.74, 1.0])
        if show_trainable:
            self.width += 12
            self.positions = [position * 0.90 for position in self.positions] + [1.0]
            self.header.append("Trainable")
            self.justify.append("center")

    def rows(self, layer_range: Sequence[str] | None) -> list[list[str]]:
        """One list of cells per layer to show."""
        first, last = _bounds(self.members, layer_range)
        rows: list[list[str]] = []
        pending = [(member, 0) for member in reversed(self.members[first:last])]
        while pending:
            member, level = pending.pop()
            rows.append(self._cells(member, level))
            inner = getattr(member, "layers", None) if self.expand_nested else None
            pending.extend((child, level + 1) for child in reversed(inner or []))
        return rows

    def _cells(self, member: Any, level: int) -> list[str]:
        prefix = "   " * level + "└ " if level else ""
        name = f"{_escape(prefix + member.name)} ([{_TYPE}]{_escape(member.kind)}[/])"
        if not isinstance(member, Layer):
            count = f"[{_NUMBER}]0[/]"
        elif not member.built:
            count = f"[{_NUMBER}]0[/] (unbuilt)"
        else:
            count = f"[{_NUMBER}]{member.count_params():,}[/]"
        cells = [name, _output_shape(member), count]
        if not self.is_chain:
            cells.append(self._connections(member))
        if self.show_trainable:
            weights = member.weights if isinstance(member, Layer) else []
            flag = f"[bold {_NUMBER}]Y[/]" if weights and member.trainable else f"[bold {_NO}]N[/]"
            cells.append(flag if weights else "[bold]-[/]")
        return cells

    def _connections(self, member: Any) -> str:
        assert self.graph is not None
        inside = {id(node) for nodes in self.graph.nodes_by_depth.values() for node in nodes}
        sources = [
            f"{_escape(history[0].name)}[[{_NUMBER}]{history[1]}[/]][[{_NUMBER}]{history[2]}[/]]"
            for node in member.nodes
            if id(node) in inside
            for tensor in node.inputs
            if (history := tensor.history) is not None
        ]
        return ", ".join(sources) or "-"

    def render(self, rows: list[list[str]], line_length: int | None) -> Any:
        """The Rich table."""
        from rich.table import Column, Table

        length = line_length or min(self.width, shutil.get_terminal_size().columns - 4)
        if len(self.positions) < len(self.header):
            raise ValueError(
                f"`positions` needs one end for each of the columns {', '.join(self.header)}; further ones are left "
                f"out. Received: positions={self.positions}."
            )
        columns, used = [], 0
        for title, justify, position in zip(self.header, self.justify, self.positions, strict=False):
            width = int(position * length) - used
            if width < 4:
                raise ValueError(
                    f"Insufficient console width to print summary. Received: line_length={length}, positions="
                    f"{self.positions}. Fix: pass a greater `line_length`."
                )
            columns.append(Column(title, justify=justify, width=width))  # type: ignore[arg-type]
            used += width
        table = Table(*columns, width=length, show_lines=True)
        for row in rows:
            table.add_row(*row)
        return table


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _is_chain(nodes_by_depth: dict[int, list[Node]], layers: list[Any]) -> bool:
    """Whether the graph is one path without shared layers."""
    nodes: set[int] = set()
    for level in nodes_by_depth.values():
        if len(level) > 1 or len(level[0].inputs) > 1:
            return False
        nodes.add(id(level[0]))
    return all(sum(id(node) in nodes for node in layer.nodes) < 2 for layer in layers)


def _output_shape(member: Any) -> str:
    """The shape of the last recorded call's result, else for the shape the layer was built for, else '?'."""
    nodes = member.nodes
    if nodes:
        shapes = [tensor.shape for tensor in nodes[-1].outputs if tensor is not None]
    else:
        try:
            structure = member.output_shape
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            return "?"
        shapes = []
        tree.map_shape_structure(shapes.append, structure)
    texts = [_shape_text(shape) for shape in shapes]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]".replace("[(", r"\[(", 1)


def _shape_text(shape: Sequence[int | None]) -> str:
    cells = [f"[{_UNKNOWN}]None[/]" if extent is None else f"[{_NUMBER}]{extent}[/]" for extent in shape]
    return f"({', '.join(cells)})"


def _totals(model: Model) -> list[str]:
    """The lines under the table."""
    trainable, rest = _count(model.trainable_weights), _count(model.non_trainable_weights)
    optimizer = (0, 0)
    has_optimizer = bool(model.compiled and model.optimizer is not None and model.optimizer.built)
    if has_optimizer:
        optimizer = _count(model.optimizer.variables)
    total = (trainable[0] + rest[0] + optimizer[0], trainable[1] + rest[1] + optimizer[1])
    lines = [("Total params", total), ("Trainable params", trainable), ("Non-trainable params", rest)]
    if has_optimizer:
        lines.append(("Optimizer params", optimizer))
    return [f"[bold] {title}: [/][{_NUMBER}]{n:,}[/] ({readable_size(size)})" for title, (n, size) in lines]


def _count(variables: Sequence[Any]) -> tuple[int, int]:
    """Elements and bytes."""
    counts = [(math.prod(variable.shape), item_size(variable.dtype)) for variable in variables]
    return sum(n for n, _ in counts), sum(n * size for n, size in counts)


def _bounds(members: list[Any], layer_range: Sequence[str] | None) -> tuple[int, int]:
    """First and one past the last member to show.

    Raises:
        ValueError: if the range is not two texts that match names.
    """
    if layer_range is None:
        return 0, len(members)
    if len(layer_range) != 2 or not all(isinstance(text, str) for text in layer_range):
        raise ValueError(f"layer_range must be a list or tuple of two strings. Received: layer_range={layer_range}")
    lower = [i for i, member in enumerate(members) if re.match(layer_range[0], member.name)]
    upper = [i for i, member in enumerate(members) if re.match(layer_range[1], member.name)]
    if not lower or not upper:
        raise ValueError(
            f"Passed layer_names do not match the layer names in the model. Received: {layer_range}. Names: "
            f"{[member.name for member in members]}"
        )
    if min(lower) > max(upper):
        return min(upper), max(lower) + 1
    return min(lower), max(upper) + 1
