"""Layered layout of an acyclic digraph: boxes in layers, edges downwards, few crossings.

After Sugiyama, Tagawa and Toda ("Methods for Visual Understanding of Hierarchical System Structures", 1981). Layers by
the longest path; a *bend* in each layer that an edge passes, so that edges join neighbouring layers only; the order
within layers by barycentres, sweeping down and up while crossings become fewer; then places as near to those of the
neighbours as the order and the sizes allow, which for each layer is an isotonic regression (pool adjacent violators).

Everything is in abstract axes: *along* the edges and *across* them; who draws decides which is horizontal.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import networkx

__all__ = ["Layout", "Place", "layered_layout"]

SWEEPS = 12
ALIGNMENTS = 9  # odd: the last goes down, so that chains below a box are straight
LAYER_GAP = 28.0  # between the boxes of neighbouring layers
BOX_GAP = 18.0  # between boxes of one layer
BEND_WIDTH = 6.0  # room for an edge that passes a layer

Vertex: TypeAlias = Hashable
Point: TypeAlias = tuple[float, float]


class Place(NamedTuple):
    """Where a box lies: the least coordinates across and along, and its extents."""

    across: float
    along: float
    width: float
    length: float


class Layout(NamedTuple):
    """Boxes by vertex, points (across, along) of each edge from box to box, and the size of it all."""

    boxes: dict[Any, Place]
    edges: dict[tuple[Any, Any], tuple[Point, ...]]
    width: float
    length: float


def layered_layout(graph: networkx.DiGraph[Any], sizes: Mapping[Any, tuple[float, float]]) -> Layout:
    """Places for boxes of these sizes (across, along). Equal graphs are laid out equally.

    Raises:
        ValueError: if the graph has a cycle.
    """
    if not networkx.is_directed_acyclic_graph(graph):
        raise ValueError("only a graph without cycles has layers")
    if not len(graph):
        return Layout({}, {}, 0.0, 0.0)
    rank = _ranks(graph)
    chains = _chains(graph, rank)
    layers = _layers(graph, rank, chains)
    above, below = _neighbours(chains)
    _order(layers, above, below)
    extents = {vertex: sizes.get(vertex, (BEND_WIDTH, 0.0)) for layer in layers for vertex in layer}
    centres = _centres(layers, extents, above, below)
    return _placed(layers, extents, centres, chains)


def _ranks(graph: networkx.DiGraph[Any]) -> dict[Any, int]:
    """Layers by the longest path from a source; a source stands just above the first that reads it."""
    rank: dict[Any, int] = {}
    for vertex in networkx.lexicographical_topological_sort(graph, key=_position(graph).__getitem__):
        rank[vertex] = max((rank[before] + 1 for before in graph.predecessors(vertex)), default=0)
    for vertex in graph:
        if not graph.in_degree(vertex) and graph.out_degree(vertex):
            rank[vertex] = min(rank[after] for after in graph.successors(vertex)) - 1
    return rank


def _position(graph: networkx.DiGraph[Any]) -> dict[Any, int]:
    return {vertex: position for position, vertex in enumerate(graph)}


class _Bend(NamedTuple):
    """Where an edge passes a layer."""

    edge: tuple[Any, Any]
    layer: int


_Chains: TypeAlias = dict[tuple[Any, Any], list[Any]]
_Joined: TypeAlias = dict[Any, list[Any]]


def _chains(graph: networkx.DiGraph[Any], rank: Mapping[Any, int]) -> _Chains:
    """For each edge its ends with a bend for each layer between."""
    return {
        (start, end): [start, *(_Bend((start, end), layer) for layer in range(rank[start] + 1, rank[end])), end]
        for start, end in graph.edges()
    }


def _layers(graph: networkx.DiGraph[Any], rank: Mapping[Any, int], chains: _Chains) -> list[list[Any]]:
    """The vertices of each layer, in the order in which a walk along the edges meets them."""
    count = max(rank.values()) + 1
    layers: list[list[Any]] = [[] for _ in range(count)]
    for vertex in graph:
        layers[rank[vertex]].append(vertex)
    for chain in chains.values():
        for bend in chain[1:-1]:
            layers[bend.layer].append(bend)
    return layers


def _neighbours(chains: _Chains) -> tuple[_Joined, _Joined]:
    """For each vertex and bend those that it joins in the layer above, and in the one below."""
    above: _Joined = {}
    below: _Joined = {}
    for chain in chains.values():
        for upper, lower in itertools.pairwise(chain):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    return above, below


def _order(layers: list[list[Any]], above: _Joined, below: _Joined) -> None:
    """Sort each layer so that few edges cross."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers, above)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        downwards = sweep % 2 == 0
        numbers = range(1, len(layers)) if downwards else range(len(layers) - 2, -1, -1)
        for number in numbers:
            fixed = layers[number - 1 if downwards else number + 1]
            _sort_by_barycentre(layers[number], fixed, above if downwards else below)
        crossings = _crossings(layers, above)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, order in zip(layers, best, strict=True):
        layer[:] = order


def _sort_by_barycentre(layer: list[Any], fixed: Sequence[Any], joined: _Joined) -> None:
    place = {vertex: position for position, vertex in enumerate(fixed)}
    weights = {}
    for position, vertex in enumerate(layer):
        others = [place[other] for other in joined.get(vertex, ())]
        # What joins nothing keeps its share of the way across.
        own = position * len(fixed) / max(len(layer), 1)
        weights[vertex] = sum(others) / len(others) if others else own
    layer.sort(key=weights.__getitem__)


def _crossings(layers: Sequence[Sequence[Any]], above: _Joined) -> int:
    """How many pairs of edges between neighbouring layers cross."""
    total = 0
    for upper, lower in itertools.pairwise(layers):
        place = {vertex: position for position, vertex in enumerate(upper)}
        ends = [end for vertex in lower for end in sorted(place[other] for other in above.get(vertex, ()))]
        total += _inversions(ends, len(upper))
    return total


def _inversions(values: Sequence[int], bound: int) -> int:
    """Pairs in the wrong order, counted with a Fenwick tree over `bound` values."""
    tree = [0] * (bound + 1)
    found = 0
    for seen, value in enumerate(values):
        position, not_above = value + 1, 0
        while position:
            not_above += tree[position]
            position -= position & -position
        found += seen - not_above
        position = value + 1
        while position <= bound:
            tree[position] += 1
            position += position & -position
    return found


def _centres(
    layers: Sequence[Sequence[Any]], extents: Mapping[Any, tuple[float, float]], above: _Joined, below: _Joined
) -> dict[Any, float]:
    """Where the middle of each vertex and bend lies across."""
    centres: dict[Any, float] = {}
    for layer in layers:
        edge = 0.0
        for vertex in layer:
            centres[vertex] = edge + extents[vertex][0] / 2
            edge += extents[vertex][0] + BOX_GAP
        for vertex in layer:
            centres[vertex] -= edge / 2
    for turn in range(ALIGNMENTS):
        order = layers if turn % 2 == 0 else layers[::-1]
        joined = above if turn % 2 == 0 else below
        for layer in order:
            wanted = [_wanted(vertex, centres, joined) for vertex in layer]
            found = _apart(wanted, [extents[vertex][0] for vertex in layer])
            centres.update(zip(layer, found, strict=True))
    return centres


def _wanted(vertex: Any, centres: Mapping[Any, float], joined: _Joined) -> float:
    """The mean of the neighbours on one side. What pushes two of them apart moves both equally and not their mean, so
    that blocks one below the other do not drift to one side."""
    others = joined.get(vertex, ())
    return sum(centres[other] for other in others) / len(others) if others else centres[vertex]


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """The centres nearest to those wanted, by the sum of squares, that keep the order and do not overlap."""
    shifts = [0.0]
    for left, right in itertools.pairwise(widths):
        shifts.append(shifts[-1] + (left + right) / 2 + BOX_GAP)
    pools: list[tuple[float, int]] = []  # mean, members
    for want, shift in zip(wanted, shifts, strict=True):
        mean, members = want - shift, 1
        while pools and pools[-1][0] > mean:
            other, its_members = pools.pop()
            mean = (mean * members + other * its_members) / (members + its_members)
            members += its_members
        pools.append((mean, members))
    means = [mean for mean, members in pools for _ in range(members)]
    return [mean + shift for mean, shift in zip(means, shifts, strict=True)]


def _placed(
    layers: Sequence[Sequence[Any]],
    extents: Mapping[Any, tuple[float, float]],
    centres: Mapping[Any, float],
    chains: _Chains,
) -> Layout:
    left = min(centres[vertex] - extents[vertex][0] / 2 for layer in layers for vertex in layer)
    right = max(centres[vertex] + extents[vertex][0] / 2 for layer in layers for vertex in layer)
    boxes: dict[Any, Place] = {}
    bands: dict[Any, tuple[float, float]] = {}  # where the layer of each vertex and bend begins and ends
    top = 0.0
    for layer in layers:
        height = max(extents[vertex][1] for vertex in layer)
        for vertex in layer:
            width, length = extents[vertex]
            bands[vertex] = top, top + height
            if not isinstance(vertex, _Bend):
                across = centres[vertex] - width / 2 - left
                boxes[vertex] = Place(across, top + (height - length) / 2, width, length)
        top += height + LAYER_GAP
    edges = {edge: _points(chain, boxes, bands, centres, left) for edge, chain in chains.items()}
    return Layout(boxes, edges, right - left, top - LAYER_GAP)


def _points(
    chain: Sequence[Any],
    boxes: Mapping[Any, Place],
    bands: Mapping[Any, tuple[float, float]],
    centres: Mapping[Any, float],
    left: float,
) -> tuple[Point, ...]:
    """An edge from box to box: straight on within layers, where others stand beside it, and slanted between them."""
    first, last = boxes[chain[0]], boxes[chain[-1]]
    points = [(first.across + first.width / 2, first.along + first.length)]
    points.append((points[0][0], bands[chain[0]][1]))
    for bend in chain[1:-1]:
        points += [(centres[bend] - left, along) for along in bands[bend]]
    end = last.across + last.width / 2
    points += [(end, bands[chain[-1]][0]), (end, last.along)]
    return tuple(point for i, point in enumerate(points) if i == 0 or point != points[i - 1])
