"""What differs between two graphs, whatever their values are called and in whatever order independent nodes stand.

Nodes that compute the same from the same are paired first, wherever they stand. The others are aligned as a text would
be, by op, attributes and types: a node whose operands were replaced is *changed*, and so is one whose attributes, types
or layer were. What is left is added or removed. Lines of the user's source do not count.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import defaultdict
from collections.abc import Callable, Hashable

from compiler.ir import Graph, Input, Node, Value
from compiler.text import attributes_text

__all__ = ["Change", "Difference", "deep_keys", "difference"]


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A node, input, variable or result that differs. `kind` is "added", "removed" or "changed"."""

    kind: str
    subject: str
    details: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """All changes, inputs first; falsy where there are none."""

    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        """A line for each change, marked by +, - or ~, and what changed below it."""
        marks = {"added": "+", "removed": "-", "changed": "~"}
        lines = []
        for change in self.changes:
            lines.append(f"{marks[change.kind]} {change.subject}")
            lines.extend(f"    {detail}" for detail in change.details)
        return "".join(f"{line}\n" for line in lines)


def difference(before: Graph, after: Graph) -> Difference:
    """What is in one graph and not in the other, and what is in both but not the same."""
    comparison = _Comparison(before, after)
    comparison.parameters()
    comparison.pair_equal()
    comparison.pair_aligned(lambda node: _shape_of_node(node, comparison.numbers))
    comparison.pair_aligned(lambda node: (node.op.name, node.layer))
    comparison.pair_aligned(lambda node: node.op.name)
    comparison.report_nodes()
    comparison.report_results()
    return Difference(tuple(comparison.changes))


class _Comparison:
    def __init__(self, before: Graph, after: Graph) -> None:
        self.before, self.after = before, after
        self.names = _names(before), _names(after)
        self.same: dict[Value, Value] = {}  # values of `before` and what they are in `after`
        self.pairs: dict[Node, Node] = {}
        self.changes: list[Change] = []
        self.numbers: dict[Hashable, int] = {}  # of what nodes compute, the same in both graphs
        self.computed: dict[Value, Hashable] = {}  # what a value is computed as: of two alike either may be the partner

    def parameters(self) -> None:
        """Pair inputs and variables by name."""
        for word, old, new in (
            ("input", self.before.inputs, self.after.inputs),
            ("variable", self.before.variables, self.after.variables),
        ):
            there = {entry.name: entry for entry in new}
            for entry in old:
                partner = there.pop(entry.name, None)
                if partner is None:
                    self.changes.append(Change("removed", _title(word, entry)))
                    continue
                self.same[entry.value] = partner.value
                if partner.value.type != entry.value.type:
                    details = (f"type {entry.value.type} -> {partner.value.type}",)
                    self.changes.append(Change("changed", f'{word} "{entry.name}"', details))
            self.changes.extend(Change("added", _title(word, entry)) for entry in there.values())

    def pair_equal(self) -> None:
        """Pair nodes that compute the same from the same, in the order in which they stand."""
        deep = [deep_keys(graph, self.numbers) for graph in (self.before, self.after)]
        for keys in deep:
            self.computed.update(((value, (key, value.index)) for node, key in keys.items() for value in node.outputs))
        waiting: dict[int, list[Node]] = defaultdict(list)
        for node in reversed(self.after.nodes):
            waiting[deep[1][node]].append(node)
        for node in self.before.nodes:
            if waiting[deep[0][node]]:
                self._pair(node, waiting[deep[0][node]].pop())

    def pair_aligned(self, key: Callable[[Node], Hashable]) -> None:
        """Pair nodes without a partner whose keys are the same in a longest common sequence."""
        taken = set(self.pairs.values())
        old = [node for node in self.before.nodes if node not in self.pairs]
        new = [node for node in self.after.nodes if node not in taken]
        keys = [[key(node) for node in nodes] for nodes in (old, new)]
        matcher = difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False)
        for block in matcher.get_matching_blocks():
            for i in range(block.size):
                self._pair(old[block.a + i], new[block.b + i])

    def _pair(self, old: Node, new: Node) -> None:
        self.pairs[old] = new
        self.same.update(zip(old.outputs, new.outputs, strict=False))

    def _are_same(self, old: Value, new: Value) -> bool:
        computed = self.computed.get(old)
        return self.same.get(old) is new or (computed is not None and computed == self.computed.get(new))

    def report_nodes(self) -> None:
        """Changes of nodes, in the order of the first graph; what was added comes last."""
        for node in self.before.nodes:
            partner = self.pairs.get(node)
            if partner is None:
                self.changes.append(Change("removed", _line(node, self.names[0])))
            elif details := self._details(node, partner):
                self.changes.append(Change("changed", _line(node, self.names[0]), tuple(details)))
        taken = set(self.pairs.values())
        added = (node for node in self.after.nodes if node not in taken)
        self.changes.extend(Change("added", _line(node, self.names[1])) for node in added)

    def _details(self, old: Node, new: Node) -> list[str]:
        details = []
        if old.layer != new.layer:
            details.append(f"layer '{old.layer}' -> '{new.layer}'")
        old_text, new_text = attributes_text(old.op), attributes_text(new.op)
        if old_text != new_text:
            details.append(f"attributes {{{old_text}}} -> {{{new_text}}}")
        types = [", ".join(str(value.type) for value in node.outputs) for node in (old, new)]
        if types[0] != types[1]:
            details.append(f"type {types[0]} -> {types[1]}")
        if len(old.inputs) != len(new.inputs):
            details.append(f"{len(old.inputs)} operands -> {len(new.inputs)}")
        for position, (one, other) in enumerate(zip(old.inputs, new.inputs, strict=False)):
            if not self._are_same(one, other):
                names = f"{_origin(one, self.names[0])} -> {_origin(other, self.names[1])}"
                details.append(f"operand {position}: {names}")
        details.extend(f"body: {line}" for line in _body_difference(old, new))
        return details

    def report_results(self) -> None:
        """Outputs and updates."""
        for word, old, new in (
            ("return", self.before.outputs, self.after.outputs),
            ("update", self.before.updates, self.after.updates),
        ):
            there = dict(new)
            for name, value in old:
                partner = there.pop(name, None)
                if partner is None:
                    self.changes.append(Change("removed", f'{word} "{name}"'))
                elif not self._are_same(value, partner):
                    details = f"{_origin(value, self.names[0])} -> {_origin(partner, self.names[1])}"
                    self.changes.append(Change("changed", f'{word} "{name}"', (details,)))
            self.changes.extend(Change("added", f'{word} "{name}"') for name in there)


def deep_keys(graph: Graph, numbers: dict[Hashable, int]) -> dict[Node, int]:
    """A number for each node, the same for nodes that compute the same from the same and belong to one layer.

    `numbers` are those given out so far: with the same dict, nodes of several graphs are alike.
    """
    known: dict[Value, Hashable] = {entry.value: ("parameter", entry.name) for entry in graph.parameters}
    keys = {}
    for node in graph.nodes:
        key = (_shape_of_node(node, numbers), tuple(known[value] for value in node.inputs))
        keys[node] = numbers.setdefault(key, len(numbers))
        known.update((value, (keys[node], i)) for i, value in enumerate(node.outputs))
    return keys


def _shape_of_node(node: Node, numbers: dict[Hashable, int]) -> Hashable:
    """All of a node but its operands."""
    bodies = tuple(_body_key(body, numbers) for body in _bodies(node))
    return node.op.name, attributes_text(node.op), node.layer, tuple(str(v.type) for v in node.outputs), bodies


def _body_key(body: Graph, numbers: dict[Hashable, int]) -> Hashable:
    """The same for bodies that differ at most in the order of independent nodes and in the names of values."""
    keys = deep_keys(body, numbers)
    parameters = {entry.value: entry.name for entry in body.parameters}
    results = []
    for name, value in body.outputs:
        origin: Hashable = parameters[value] if value.node is None else (keys[value.node], value.index)
        results.append((name, origin))
    signature = tuple((entry.name, str(entry.value.type)) for entry in body.parameters)
    return signature, tuple(sorted(keys.values())), tuple(results)


def _body_difference(old: Node, new: Node) -> list[str]:
    lines: list[str] = []
    for one, other in zip(_bodies(old), _bodies(new), strict=False):
        lines.extend(str(difference(one, other)).splitlines())
    return lines


def _bodies(node: Node) -> list[Graph]:
    return [value for value in node.op.fields.values() if isinstance(value, Graph)]


def _names(graph: Graph) -> dict[Value, str]:
    """Values as the text form numbers them, inputs and variables by their own name."""
    names = {entry.value: f'"{entry.name}"' for entry in graph.parameters}
    for node in graph.nodes:
        for value in node.outputs:
            names[value] = f"%{len(names)}"
    return names


def _title(word: str, entry: Input) -> str:
    return f'{word} "{entry.name}": {entry.value.type}'


def _line(node: Node, names: dict[Value, str]) -> str:
    results = ", ".join(f"{names[value]}: {value.type}" for value in node.outputs)
    text = attributes_text(node.op)
    layer = f' @"{node.layer}"' if node.layer else ""
    return f"{results} = {_call(node, names)}" + (f" {{{text}}}" if text else "") + layer


def _origin(value: Value, names: dict[Value, str]) -> str:
    return names[value] if value.node is None else f"{names[value]} = {_call(value.node, names)}"


def _call(node: Node, names: dict[Value, str]) -> str:
    return f"{node.op.name}({', '.join(names[value] for value in node.inputs)})"
