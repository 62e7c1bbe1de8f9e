"""Why two layers did or did not end in one kernel: read from the fused groups of a graph and the remarks of `fuse`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from compiler.bodies import loop_body
from compiler.ir import Graph, Node, Value
from compiler.ops.fused import FusedGroup
from compiler.passes.context import Remark
from compiler.storage import root_of

__all__ = ["Explanation", "Separation", "SharedKernel", "explain_layers", "is_of_layer", "layers_of"]

_EDGE = re.compile(r"^(?P<producer>\w+(?: \(.*\))?) -> (?P<reader>\w+(?: \(.*\))?)$", re.DOTALL)


class SharedKernel(NamedTuple):
    """A kernel with ops of both layers."""

    kernel: str  # the layers that it is of
    first: tuple[str, ...]  # ops of the first layer in it
    second: tuple[str, ...]


class Separation(NamedTuple):
    """A value that one kernel writes and another reads; both ends as "op (layer)"."""

    producer: str
    reader: str
    reason: str


class Explanation(NamedTuple):
    """What became of two layers in one graph. `str` says it in words."""

    graph: str
    first: str
    second: str
    shared: tuple[SharedKernel, ...]
    separations: tuple[Separation, ...]

    @property
    def fused(self) -> bool:
        """Whether at least one kernel computes something of both."""
        return bool(self.shared)

    def __str__(self) -> str:
        pair = f"'{self.first}' and '{self.second}'"
        if not self.shared and not self.separations:
            return f"{pair} share no kernel in '{self.graph}': neither reads a result of the other."
        count = {0: "no kernel", 1: "1 kernel"}.get(len(self.shared), f"{len(self.shared)} kernels")
        lines = [f"{pair} share {count} in '{self.graph}'."]
        for kernel in self.shared:
            ops = f"{'+'.join(kernel.first)} of '{self.first}' with {'+'.join(kernel.second)} of '{self.second}'"
            lines.append(f"  one kernel ({kernel.kernel}): {ops}")
        lines += [f"  apart: {each.producer} -> {each.reader}: {each.reason}" for each in self.separations]
        return "\n".join(lines)


def is_of_layer(path: str, layer: str) -> bool:
    """Whether a node with this layer path, "outer/inner", belongs to a layer of this name or path."""
    return f"/{layer}/" in f"/{path}/"


def layers_of(graph: Graph) -> frozenset[str]:
    """The layer paths of all nodes, those in groups and loops too."""
    found: set[str] = set()
    for node in graph.nodes:
        inner = node.op.body if isinstance(node.op, FusedGroup) else loop_body(node)
        found |= layers_of(inner) if inner is not None else set()
        if not isinstance(node.op, FusedGroup):
            found.add(node.layer)
    return frozenset(found - {""})


def explain_layers(graph: Graph, remarks: Sequence[Remark], first: str, second: str) -> Explanation:
    """Look for kernels that two layers share, and for the edges between them that were not fused.

    Args:
        graph: after all passes.
        remarks: what the passes said of it.
        first, second: names or paths of layers.

    Raises:
        ValueError: for a layer that the graph does not have, or one layer twice.
    """
    known = layers_of(graph)
    for layer in (first, second):
        if not any(is_of_layer(path, layer) for path in known):
            raise ValueError(f"graph '{graph.name}' has no layer '{layer}'. It has: {', '.join(sorted(known))}")
    if first == second:
        raise ValueError(f"explain needs two layers. Received: '{first}' twice")
    shared: list[SharedKernel] = []
    separations: dict[Separation, None] = {}
    reasons = _reasons(remarks)
    for inner in _graphs(graph):
        for node in inner.nodes:
            if isinstance(node.op, FusedGroup):
                shared += _shared(node, node.op.body, (first, second))
        for edge in _edges(inner):
            owners = {_owner(node.layer, (first, second)) for node in (edge.producer, edge.reader)}
            if owners == {first, second}:
                titles = _title(edge.producer), _title(edge.reader)
                separations[Separation(*titles, _reason(reasons, edge))] = None
    return Explanation(graph.name, first, second, tuple(shared), tuple(separations))


def _graphs(graph: Graph) -> Iterator[Graph]:
    """A graph and the bodies of its loops."""
    yield graph
    for node in graph.nodes:
        body = loop_body(node)
        if body is not None:
            yield from _graphs(body)


def _owner(path: str, pair: tuple[str, str]) -> str | None:
    """Which of two layers a node with this path belongs to: the inner one, where one is inside of the other."""
    ends = {layer: f"/{path}/".rfind(f"/{layer}/") + len(layer) for layer in pair if is_of_layer(path, layer)}
    return max(ends, key=lambda layer: (ends[layer], -len(layer)), default=None)


def _shared(node: Node, body: Graph, pair: tuple[str, str]) -> Iterator[SharedKernel]:
    ops = [
        tuple(dict.fromkeys(inner.op.name for inner in body.nodes if _owner(inner.layer, pair) == layer))
        for layer in pair
    ]
    if all(ops):
        yield SharedKernel(node.layer, *ops)


class _Edge(NamedTuple):
    """An op that writes memory for another kernel, an op there that reads it, and all ops of both kernels."""

    producer: Node
    reader: Node
    makers: tuple[Node, ...]
    readers: tuple[Node, ...]


def _edges(graph: Graph) -> Iterator[_Edge]:
    for node in graph.nodes:
        for number, value in enumerate(node.inputs):
            maker = _maker(value)
            if maker is None:
                continue
            for reader, readers in _readers(node, number):
                yield _Edge(maker[0], reader, maker[1], readers)


def _readers(node: Node, number: int) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """The ops that read an input of a kernel, and all of that kernel; a loop counts as one op."""
    if loop_body(node) is not None:
        yield node, (node,)
    elif isinstance(node.op, FusedGroup) and number < len(node.op.body.inputs):
        body = node.op.body
        yield from ((each, body.nodes) for each in body.nodes if body.inputs[number].value in each.inputs)


def _maker(value: Value) -> tuple[Node, tuple[Node, ...]] | None:
    """The op that makes a value, and all of its kernel; None where no kernel makes it."""
    root = root_of(value)
    node = root.node
    if node is not None and isinstance(node.op, FusedGroup):
        made = node.op.body.outputs[root.index][1].node
        return None if made is None else (made, node.op.body.nodes)
    return None if node is None or loop_body(node) is None else (node, (node,))


def _title(node: Node) -> str:
    return f"{node.op.name} ({node.layer})" if node.layer else node.op.name


def _reasons(remarks: Sequence[Remark]) -> dict[tuple[str, str], str]:
    """What `fuse` said, by the titles of both ends."""
    found: dict[tuple[str, str], str] = {}
    for remark in remarks:
        match = _EDGE.match(remark.subject) if remark.pass_name == "fuse" else None
        if match is not None:
            found.setdefault((match["producer"], match["reader"]), remark.text)
    return found


def _reason(reasons: dict[tuple[str, str], str], edge: _Edge) -> str:
    """`fuse` says why once for each pair of groups, at one of the edges between them."""
    loop = next((node for node in (edge.producer, edge.reader) if loop_body(node) is not None), None)
    if loop is not None:
        return f"'{loop.op.name}' is a loop: its kernels run once for each step, those around it once"
    exact = reasons.get((_title(edge.producer), _title(edge.reader)))
    if exact is not None:
        return exact
    makers, readers = ({_title(node) for node in nodes} for nodes in (edge.makers, edge.readers))
    said = (text for (one, two), text in reasons.items() if one in makers and two in readers)
    return next(said, "the pass gave no reason: a later one made two kernels of them")
