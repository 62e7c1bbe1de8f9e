"""What a pass changed, line by line: graphs are renamed alike before they are compared.

Printed graphs number their values, so one new node would change every line behind it. Here a value keeps its name
through all passes: a node that is the same object, computes the same from the inputs on, reads the same names, or has
the same place among the remaining nodes of its op, type and layer passes its name on. Lines are then laid side by side
along the longest chain of pairs that both graphs have in the same order (patience diff).
"""

from __future__ import annotations

import bisect
from collections import defaultdict, deque
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from compiler.inspect.difference import deep_keys
from compiler.ir import Graph, Node, Value
from compiler.text import attributes_text

__all__ = ["Line", "Naming", "Row", "side_by_side", "visible"]

CONTEXT = 2  # unchanged lines around a change
LONGEST_LINE = 220  # characters


class Line(NamedTuple):
    """A node in text, with names that last."""

    node: Node
    text: str


class Row(NamedTuple):
    """One line of a side-by-side diff. `kind`: "same", "changed", "removed", "added", or "gap" for lines left out."""

    kind: str
    left: str
    right: str


class Naming:
    """Names for the values of one graph after another."""

    def __init__(self, graph: Graph) -> None:
        self._names: dict[Value, str] = {}
        self._count = 0
        self._graph = graph
        self.lines = self._first(graph)

    def _new(self) -> str:
        self._count += 1
        return f"%{self._count - 1}"

    def _first(self, graph: Graph) -> list[Line]:
        for entry in graph.parameters:
            self._names[entry.value] = self._new()
        for node in graph.nodes:
            for value in node.outputs:
                self._names[value] = self._new()
        return [Line(node, self._text(node)) for node in graph.nodes]

    def _text(self, node: Node) -> str:
        results = ", ".join(f"{self._names[value]}: {value.type}" for value in node.outputs)
        reads = ", ".join(self._names.get(value, "?") for value in node.inputs)
        attributes = attributes_text(node.op, defaults=False)
        body = node.op.fields.get("body")
        inside = f" [{', '.join(inner.op.name for inner in body.nodes)}]" if isinstance(body, Graph) else ""
        place = f' @"{node.layer}"' if node.layer else ""
        text = f"{results} = {node.op.name}({reads}){' {' + attributes + '}' if attributes else ''}{inside}{place}"
        return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"

    def follow(self, graph: Graph) -> list[tuple[int, int]]:
        """Name the next graph's values and take its lines; returns pairs of places of nodes that match."""
        old = self.lines
        equal = _equal_nodes(self._graph, graph)
        used = set(equal.values())
        same: dict[object, deque[int]] = defaultdict(deque)
        alike: dict[object, deque[int]] = defaultdict(deque)
        for i, line in enumerate(old):
            if i not in used:
                same[_same(line.node, self._names)].append(i)
                alike[_alike(line.node)].append(i)
        for before, after in zip(self._graph.parameters, graph.parameters, strict=False):
            self._names.setdefault(after.value, self._names[before.value])
        pairs = []
        for j, node in enumerate(graph.nodes):
            found = equal.get(j)
            if found is None:
                found = _take(same[_same(node, self._names)], used)
                found = _take(alike[_alike(node)], used) if found is None else found
            for i, value in enumerate(node.outputs):
                if value not in self._names:
                    self._names[value] = self._new() if found is None else self._names[old[found].node.outputs[i]]
            if found is not None:
                used.add(found)
                pairs.append((found, j))
        self.lines = [Line(node, self._text(node)) for node in graph.nodes]
        self._graph = graph
        return pairs


def _equal_nodes(before: Graph, after: Graph) -> dict[int, int]:
    """For places of nodes those of old nodes that are the same objects, or compute the same from the inputs on."""
    identity = {node: i for i, node in enumerate(before.nodes)}
    found = {j: identity[node] for j, node in enumerate(after.nodes) if node in identity}
    used = set(found.values())
    numbers: dict[Hashable, int] = {}
    places: dict[int, deque[int]] = defaultdict(deque)
    for i, number in enumerate(deep_keys(before, numbers).values()):
        places[number].append(i)
    for j, number in enumerate(deep_keys(after, numbers).values()):
        if j not in found and (place := _take(places[number], used)) is not None:
            found[j] = place
            used.add(place)
    return found


def _same(node: Node, names: dict[Value, str]) -> object:
    return node.op, tuple(names.get(value) for value in node.inputs), node.layer


def _alike(node: Node) -> object:
    return node.op.name, tuple(str(value.type) for value in node.outputs), node.layer


def _take(places: deque[int], used: set[int]) -> int | None:
    while places:
        found = places.popleft()
        if found not in used:
            return found
    return None


def side_by_side(before: list[Line], after: list[Line], pairs: list[tuple[int, int]]) -> list[Row]:
    """All lines of both graphs; matching nodes whose order changed are shown as removed and added."""
    rows: list[Row] = []
    i = j = 0
    for left, right in [*_longest_chain(pairs), (len(before), len(after))]:
        removed, added = before[i:left], after[j:right]
        rows.extend(Row("removed", line.text, "") for line in removed)
        rows.extend(Row("added", "", line.text) for line in added)
        if left < len(before):
            old, new = before[left].text, after[right].text
            rows.append(Row("same" if old == new else "changed", old, new))
        i, j = left + 1, right + 1
    return rows


def _longest_chain(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of `pairs`, which are sorted by their second number, whose first numbers rise."""
    tails: list[int] = []
    at: list[int] = []
    previous: list[int] = []
    for k, (i, _) in enumerate(pairs):
        position = bisect.bisect_left(tails, i)
        if position == len(tails):
            tails.append(i)
            at.append(k)
        else:
            tails[position], at[position] = i, k
        previous.append(at[position - 1] if position else -1)
    chain = []
    k = at[-1] if at else -1
    while k >= 0:
        chain.append(pairs[k])
        k = previous[k]
    return chain[::-1]


def visible(rows: list[Row], most: int) -> Iterator[Row]:
    """Changes with `CONTEXT` unchanged lines around them, at most so many rows; gaps say how many are left out."""
    near = [False] * len(rows)
    for i, row in enumerate(rows):
        if row.kind != "same":
            for k in range(max(i - CONTEXT, 0), min(i + CONTEXT + 1, len(rows))):
                near[k] = True
    skipped = shown = 0
    for i, row in enumerate(rows):
        if not near[i]:
            skipped += 1
            continue
        if shown == most:
            left = sum(row.kind != "same" for row in rows[i:])
            yield Row("gap", f"{left} more changed lines are not shown", "")
            return
        if skipped:
            yield Row("gap", f"{skipped} unchanged lines", "")
            skipped = 0
        yield row
        shown += 1
    if skipped:
        yield Row("gap", f"{skipped} unchanged lines", "")
