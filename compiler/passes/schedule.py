"""Choose the order of the kernels, and give every result memory of its own.

The order keeps the sum of what is alive small: among the nodes that are ready, the one that frees most (or
needs least) runs first. Both that order and the given one are measured; the better stays. Where it costs no memory,
kernels that do not depend on each other are then brought side by side. Kernels that the runtime need not repeat at
every run come before all others (see `compiler.preparation`).

Results need care: an output must be written by a kernel (not be an input, a constant or another result's
alias), and an update may be written straight into its variable only if nobody reads the old value later.
Where that fails, a copy is appended. A kernel that puts rows into a table does so in the table's own memory: where
the table is needed afterwards, or is no memory to be changed, the kernel gets a copy of it. So does a loop of its limit
where that is other memory seen as a scalar.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
from collections.abc import Sequence

from compiler.ir import Builder, Fusion, Graph, Node, Value
from compiler.limits import is_limited
from compiler.ops.conversion import StopGradient
from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.passes.side_by_side import count_phases, side_by_side
from compiler.preparation import kept_values, prepared_first, prepared_nodes
from compiler.rewrite import finish, keep, rewrite
from compiler.storage import in_place_pairs, is_kernel, is_state, last_uses, put_pairs, root_of
from compiler.types import TensorType
from runtime.dimensions import evaluate, symbols_of

TYPICAL_EXTENT = 32  # what a symbol is taken to be where orders and sizes are compared

# How far ahead kernels are looked for that fill a phase; the first with which nothing more is alive at once is taken.
_WINDOWS = (16, 8, 4)


def schedule(graph: Graph, context: PassContext) -> Graph:
    """Reorder the nodes and append the copies that results need, until neither changes anything."""
    graph = _give_limits_memory(graph)
    while True:
        ordered = _in_best_order(graph)
        changed = _give_results_memory(ordered)
        if changed is ordered:
            changed = _give_tables_memory(ordered, context)
        if changed is graph:
            return graph
        graph = changed


def _in_best_order(graph: Graph) -> Graph:
    order = _Order(graph)
    given = dataclasses.replace(graph, nodes=order.run(greedy=False))
    candidate = dataclasses.replace(graph, nodes=order.run(greedy=True))
    best = candidate if live_peak(candidate) < live_peak(given) else given
    best = _side_by_side(best, order)
    return graph if best.nodes == graph.nodes else best


def _side_by_side(graph: Graph, order: _Order) -> Graph:
    """The graph in an order with fewer phases, where there is one that keeps no more alive at once."""
    first = [node for node in graph.nodes if node in order.prepared]
    others = [node for node in graph.nodes if node not in order.prepared]
    before = {node: order.before[node] - order.prepared for node in others}
    phases, peak = count_phases(others, before), live_peak(graph)
    for window in _WINDOWS:
        moved = side_by_side(others, before, window)
        found = dataclasses.replace(graph, nodes=(*first, *moved))
        if count_phases(moved, before) < phases and live_peak(found) <= peak:
            return found
    return graph


def typical_bytes(value: Value) -> int:
    """Size of a value with every symbol at its typical extent."""
    return _typical_bytes(value.type)


@functools.lru_cache(maxsize=4096)  # a graph has few types, and orders are compared by them many times
def _typical_bytes(type_: TensorType) -> int:
    size = type_.size_in_bytes
    return evaluate(size, dict.fromkeys(symbols_of(size), TYPICAL_EXTENT))


def live_peak(graph: Graph) -> int:
    """The largest sum of bytes alive at once, at typical extents: no plan can do with less."""
    return max(live_bytes(graph), default=0)


def live_bytes(graph: Graph) -> list[int]:
    """Bytes of computed values alive while each node runs, at typical extents."""
    last = last_uses(graph)
    ending: list[list[Value]] = [[] for _ in range(len(graph.nodes) + 1)]
    alive = 0
    series = []
    for position, node in enumerate(graph.nodes):
        if is_kernel(node):
            for value in node.outputs:
                alive += typical_bytes(value)
                ending[max(last.get(value, position), position)].append(value)
        series.append(alive)
        alive -= sum(typical_bytes(value) for value in ending[position])
    return series


class _Order:
    """List scheduling under the data dependences and under one more rule: a variable's new value is computed
    after every other node that reads the old one, so that it can be written in place."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.position = {node: i for i, node in enumerate(graph.nodes)}
        self.kept = {root_of(value) for value in graph.results} | kept_values(graph)
        self.prepared = prepared_nodes(graph)
        self.before: dict[Node, set[Node]] = {
            node: {v.node for v in node.inputs if v.node is not None} for node in graph.nodes
        }
        self.after: dict[Node, set[Node]] = {node: set() for node in graph.nodes}
        for node, earlier in self.before.items():
            for other in earlier:
                self.after[other].add(node)
        self._write_last()

    def _write_last(self) -> None:
        variables = {entry.name: entry.value for entry in self.graph.variables}
        readers: dict[Value, list[Node]] = {value: [] for value in variables.values()}
        for node in self.graph.nodes:
            for value in {root_of(v) for v in node.inputs}.intersection(readers):
                readers[value].append(node)
        for name, value in self.graph.updates:
            writer = root_of(value).node
            if writer is None:
                continue
            descendants = self._descendants(writer)
            others = [node for node in readers[variables[name]] if node is not writer]
            if descendants.intersection(others):
                continue
            for node in others:
                if node.op.fusion is not Fusion.ALIAS:
                    self.before[writer].add(node)
                    self.after[node].add(writer)

    def _descendants(self, node: Node) -> set[Node]:
        """A node and all that must wait for it, by data or by the rule for variables."""
        found = {node}
        pending = [node]
        for earlier in pending:  # grows while it is walked
            fresh = self.after[earlier] - found
            found |= fresh
            pending.extend(fresh)
        return found

    def run(self, *, greedy: bool) -> tuple[Node, ...]:
        """The order: by need of memory if `greedy`, else as close to the given one as the rules allow."""
        remaining: dict[Value, int] = {}
        for node in self.graph.nodes:
            if node.op.fusion is not Fusion.ALIAS:
                for value in {root_of(v) for v in node.inputs}:
                    remaining[value] = remaining.get(value, 0) + 1
        missing = {node: len(earlier) for node, earlier in self.before.items()}

        def cost(node: Node) -> int:
            if not greedy:
                return 0
            if not is_kernel(node):
                return -1
            dying = {root_of(v) for v in node.inputs} - self.kept
            freed = sum(typical_bytes(v) for v in dying if v.node is not None and remaining[v] == 1)
            return sum(typical_bytes(v) for v in node.outputs) - freed

        ready = [(cost(node), self.position[node]) for node in self.graph.nodes if not missing[node]]
        heapq.heapify(ready)
        order: list[Node] = []
        while ready:
            claimed, where = heapq.heappop(ready)
            node = self.graph.nodes[where]
            current = cost(node)
            if current != claimed and ready and (current, where) > ready[0]:
                heapq.heappush(ready, (current, where))  # it was costed before its peers ran
                continue
            order.append(node)
            if node.op.fusion is not Fusion.ALIAS:
                for value in {root_of(v) for v in node.inputs}:
                    remaining[value] -= 1
            for later in self.after[node]:
                missing[later] -= 1
                if not missing[later]:
                    heapq.heappush(ready, (cost(later), self.position[later]))
        if len(order) != len(self.graph.nodes):
            raise RuntimeError("the order of updates contradicts the data dependences")
        return prepared_first(tuple(order), self.prepared)


def _give_limits_memory(graph: Graph) -> Graph:
    """Copies of limits that lie in memory of another type, one for all that read it."""
    copies: dict[Value, Value] = {}

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if not is_limited(node) or root_of(inputs[-1]).type == inputs[-1].type:
            return None
        limit = inputs[-1]
        if limit not in copies:
            copies[limit] = _copy(b, limit)
        return b.emit_all(node.op, *inputs[:-1], copies[limit])

    return rewrite(graph, rule)


def _give_results_memory(graph: Graph) -> Graph:
    b = Builder(graph.name)
    b.inputs, b.variables, b.nodes = list(graph.inputs), list(graph.variables), list(graph.nodes)
    outputs, updates = [], []
    taken: set[Value] = set()
    for name, value in graph.outputs:
        if not _is_written(value) or root_of(value) in taken:
            value = _copy(b, value)
        taken.add(root_of(value))
        outputs.append((name, value))
    for name, value in graph.updates:
        if not _is_written(value) or root_of(value) in taken:
            value = _copy(b, value)
        taken.add(root_of(value))
        updates.append((name, value))
    if len(b.nodes) > len(graph.nodes):
        graph = dataclasses.replace(graph, nodes=tuple(b.nodes), outputs=tuple(outputs), updates=tuple(updates))
    late = late_updates(graph)
    if not late:
        return graph
    copies = {value: _copy(b, value) for name, value in graph.updates if name in late}
    updates = [(name, copies.get(value, value)) for name, value in graph.updates]
    return dataclasses.replace(graph, nodes=tuple(b.nodes), updates=tuple(updates))


def late_updates(graph: Graph) -> set[str]:
    """Updates that cannot be written where they are computed, since the old value is read afterwards."""
    variables = {entry.name: entry.value for entry in graph.variables}
    last = last_uses(dataclasses.replace(graph, outputs=(), updates=()))
    position = {node: i for i, node in enumerate(graph.nodes)}
    late = set()
    pairs_of: dict[Node, list[tuple[int, int]]] = {}  # one kernel may update many variables
    for name, value in graph.updates:
        written = root_of(value)
        node = written.producer
        final = last.get(variables[name], -1)
        if final > position[node]:
            late.add(name)
        elif final == position[node]:
            places = [i for i, v in enumerate(node.inputs) if root_of(v) is variables[name]]
            if node not in pairs_of:
                pairs_of[node] = in_place_pairs(node)
            if not all((i, written.index) in pairs_of[node] for i in places):
                late.add(name)
    return late


def _give_tables_memory(graph: Graph, context: PassContext) -> Graph:
    """Copies of the tables that a kernel puts rows into, where it may not change them."""
    needed = {pair for node in graph.nodes for pair in _tables_to_copy(graph, node)}
    if not needed:
        return graph
    b = Builder(graph.name)
    b.inputs, b.variables = list(graph.inputs), list(graph.variables)
    direct = {root_of(value) for value in graph.results}
    new: dict[Value, Value] = {entry.value: entry.value for entry in graph.parameters}
    for node in graph.nodes:
        inputs = [new[value] for value in node.inputs]
        for i, _ in put_pairs(node):
            if (node, i) in needed:
                context.remark("schedule", node.layer, "rows are put into a copy: the table itself is needed as it was")
                inputs[i] = _copy(b, inputs[i])
        results = keep(b, node, tuple(inputs))
        new.update(zip(node.outputs, results, strict=True))
        for i, j in put_pairs(node):
            if (node, i) in needed and node.outputs[j] in direct:
                new[node.outputs[j]] = _copy(b, results[j])
    return finish(b, graph, new)


def _tables_to_copy(graph: Graph, node: Node) -> list[tuple[Node, int]]:
    """(node, input) of each table that the node may not change: neither a variable that it updates nor its to take."""
    pairs = put_pairs(node)
    if not pairs:
        return []
    updates = {name: root_of(value) for name, value in graph.updates}
    own = {entry.value: updates.get(entry.name) for entry in graph.variables}
    results = {root_of(value) for value in graph.results}
    kept = kept_values(graph)
    last, position = last_uses(graph), graph.nodes.index(node)
    found = []
    for i, j in pairs:
        table, result = root_of(node.inputs[i]), node.outputs[j]
        if table in own and own[table] is result:
            continue  # in place, since `late_updates` has nothing against it
        is_made = table.node is not None and is_kernel(table.node) and not is_state(table)
        if not is_made or table in kept or last[table] != position or result in results:
            found.append((node, i))
    return found


def _is_written(value: Value) -> bool:
    root = root_of(value)
    return root.node is not None and is_kernel(root.node) and not is_state(root)


def _copy(b: Builder, value: Value) -> Value:
    body = Builder("body")
    x = body.input("x0", value.type)
    body.output("y0", body.emit(StopGradient(), x))
    with b.scope(layer="copy"):
        return b.emit(Fused(body.build()), value)
