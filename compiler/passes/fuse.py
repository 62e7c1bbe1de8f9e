"""Group primitives into kernels.

    %2 = convolution(%x, %w)                       %5 = fused(%x, %w, %b) {
    %3 = broadcast(%b) {axes=(3,)}          ->         %2 = convolution(%x, %w) ...
    %4 = add(%2, %3)                                   %5 = relu(%4)
    %5 = relu(%4)                                  }

Contractions first take the elementwise chain behind them (their epilogue), but not what only reductions need, then
reductions take what feeds them and what follows in the same rows, and those over the pixels of images join the
convolution that makes them; then the remaining elementwise nodes join each other. No kernel takes a reader whose result
it would store beside what that is made of, where a copy in the next kernel costs less; in the end no kernel stores what
its readers make of other memory with an instruction or two. For every edge that stays in memory a remark says why.
After this pass a graph holds only `fused` nodes, aliases and constants.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection

from compiler.grouping import Refusal, is_cloned, is_fusible, reads_memory
from compiler.ir import Builder, Fusion, Graph, Node, Value
from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.passes.partition import Group, Partition


def fuse(graph: Graph, context: PassContext) -> Graph:
    """Partition the graph into kernels; see the module's text."""
    if not any(is_fusible(node) for node in graph.nodes):
        return graph
    partition = Partition(graph, by_image=context.target.kind == "cpu")
    _grow_contractions(partition)
    _grow_reductions(partition)
    _grow_maps(partition)
    _explain(partition, context)
    for node in partition.recompute_cheap():
        context.remark("recompute", _title(node), "its readers compute it from what is in memory")
    return _rebuild(partition)


def _grow_contractions(partition: Partition) -> None:
    # A value that only reductions need would be stored by the epilogue; their own kernels compute it in passing.
    reduced = _only_reduced(partition)
    for node in partition.graph.nodes:
        if node.op.fusion is Fusion.CONTRACTION:
            _absorb(partition, partition.group[node], forward=True, kinds=(Fusion.ELEMENTWISE,), without=reduced)


def _only_reduced(partition: Partition) -> set[Node]:
    """Elementwise nodes all of whose readers are reductions, or such nodes in turn."""
    found: set[Node] = set()
    for node in reversed(partition.graph.nodes):
        if node.op.fusion is not Fusion.ELEMENTWISE or partition.results.intersection(node.outputs):
            continue
        readers = partition.users[node.outputs[0]]
        if readers and all(r in found or r.op.fusion is Fusion.REDUCTION for r in readers):
            found.add(node)
    return found


def _grow_reductions(partition: Partition) -> None:
    kinds = (Fusion.ELEMENTWISE, Fusion.REDUCTION, Fusion.INDEXED)
    for node in partition.graph.nodes:
        if node.op.fusion is Fusion.REDUCTION:
            group = partition.group[node]
            _absorb(partition, group, forward=False, kinds=kinds)
            _absorb(partition, group, forward=True, kinds=kinds)
            _absorb(partition, partition.group[node], forward=False, kinds=(Fusion.CONTRACTION,))


def _grow_maps(partition: Partition) -> None:
    for thrifty in (True, False):
        for node in partition.graph.nodes:
            if node in partition.group and not reads_memory(node):
                _join_producers(partition, node, thrifty)
    # Siblings that read the same value and have the same shape share one pass over memory.
    kinds = (Fusion.ELEMENTWISE, Fusion.REDUCTION)
    for users in partition.users.values():
        readers = [r for r in users if r in partition.group and r.op.fusion in kinds]
        for left, right in itertools.pairwise(readers):
            partition.merge(partition.group[left], partition.group[right])


def _join_producers(partition: Partition, node: Node, thrifty: bool) -> None:
    for producer in partition.producers(node):
        if producer not in partition.group:
            continue
        group = partition.group[producer]
        if not (thrifty and partition.stores_twice(group, node)):
            partition.merge(group, partition.group[node])


def _absorb(
    partition: Partition,
    group: Group,
    *,
    forward: bool,
    kinds: tuple[Fusion, ...],
    without: Collection[Node] = (),
) -> None:
    """Merge neighbours into a group until nothing more fits."""
    refused: set[Node] = set(without)
    grown = True
    while grown:
        grown = False
        for node in list(group.members):
            if forward:
                near = [reader for value in node.outputs for reader in partition.readers(value)]
            else:
                near = partition.producers(node)
            for other in near:
                if other in refused or other not in partition.group or other.op.fusion not in kinds:
                    continue
                if partition.group[other] is partition.group[node]:
                    continue
                if forward and partition.stores_twice(partition.group[node], other):
                    continue
                if partition.merge(partition.group[node], partition.group[other]):
                    group = partition.group[node]
                    grown = True
                else:
                    refused.add(other)


def _explain(partition: Partition, context: PassContext) -> None:
    """A remark for every edge between two kernels."""
    seen: set[tuple[int, int]] = set()
    for node, group in partition.group.items():
        for producer in partition.producers(node):
            other = partition.group.get(producer)
            if other is group or (other is not None and (id(other), id(group)) in seen):
                continue
            subject = f"{_title(producer)} -> {_title(node)}"
            if other is None:
                context.remark("fuse", subject, f"'{producer.op.name}' is memory, not a kernel")
                continue
            seen.add((id(other), id(group)))
            judgement = partition.judge(other, group)
            reason = judgement.reason if isinstance(judgement, Refusal) else "each was complete before the other grew"
            context.remark("fuse", subject, reason)
    kept = _materialised_clones(partition)
    for node in [node for node in partition.graph.nodes if node in kept]:
        reason = "a repeated value that is a result, a factor or seen under another shape has a kernel of its own"
        for producer in partition.producers(node):
            context.remark("fuse", f"{_title(producer)} -> {_title(node)}", reason)
        for user in partition.users[node.outputs[0]]:
            if not _clones_in(user):
                context.remark("fuse", f"{_title(node)} -> {_title(user)}", reason)


def _title(node: Node) -> str:
    return f"{node.op.name} ({node.layer})" if node.layer else node.op.name


def _rebuild(partition: Partition) -> Graph:
    graph = partition.graph
    b = Builder(graph.name)
    b.inputs, b.variables = list(graph.inputs), list(graph.variables)
    new: dict[Value, Value] = {entry.value: entry.value for entry in graph.parameters}
    for unit in _ordered_units(partition):
        if isinstance(unit, Group):
            _emit_group(partition, b, new, unit.members)
        elif is_fusible(unit):
            _emit_group(partition, b, new, [unit])
        else:
            with b.scope(layer=unit.layer, source=unit.source):
                results = b.emit_all(unit.op, *(new[value] for value in unit.inputs))
            new.update(zip(unit.outputs, results, strict=True))
    return Graph(
        graph.name,
        tuple(b.inputs),
        tuple(b.variables),
        tuple(b.nodes),
        tuple((name, new[value]) for name, value in graph.outputs),
        tuple((name, new[value]) for name, value in graph.updates),
    )


def _materialised_clones(partition: Partition) -> set[Node]:
    """Broadcasts and sources that something needs in memory: results, aliases and factors of contractions."""
    needed: set[Node] = set()
    for node in reversed(partition.graph.nodes):
        if not is_cloned(node):
            continue
        value = node.outputs[0]
        if value in partition.results or any(not _clones_in(user) for user in partition.users[value]):
            needed.add(node)
    return needed


def _clones_in(user: Node) -> bool:
    """Whether a reader takes a cloned producer into its own kernel."""
    return is_fusible(user) and not reads_memory(user)


def _ordered_units(partition: Partition) -> list[Group | Node]:
    """Groups and single nodes in an order in which each comes after what it reads."""
    kept = _materialised_clones(partition)
    unit_of: dict[Node, Group | Node] = {}
    for node in partition.graph.nodes:
        if node in partition.group:
            unit_of[node] = partition.group[node]
        elif not is_cloned(node) or node in kept:
            unit_of[node] = node
    order: list[Group | Node] = []
    state: dict[int, int] = {}
    for node in partition.graph.nodes:
        if node not in unit_of:
            continue
        stack: list[tuple[Group | Node, bool]] = [(unit_of[node], False)]
        while stack:
            unit, done = stack.pop()
            if done:
                order.append(unit)
                continue
            if state.get(id(unit)):
                continue
            state[id(unit)] = 1
            stack.append((unit, True))
            members = unit.members if isinstance(unit, Group) else [unit]
            needed = [p for m in members for p in _memory_producers(m, unit_of, partition.recomputed)]
            stack.extend((unit_of[p], False) for p in needed if unit_of[p] is not unit)
    return order


def _memory_producers(node: Node, unit_of: dict[Node, Group | Node], recomputed: set[Value]) -> list[Node]:
    """The nodes whose results a node reads in memory; a broadcast that is there for others is computed in passing."""
    found: list[Node] = []
    clones = _clones_in(node)
    stack = [value.node for value in node.inputs if value.node is not None]
    while stack:
        producer = stack.pop()
        if (clones and is_cloned(producer)) or not recomputed.isdisjoint(producer.outputs):
            stack.extend(value.node for value in producer.inputs if value.node is not None)
        elif producer in unit_of:
            found.append(producer)
    return found


def _emit_group(partition: Partition, b: Builder, new: dict[Value, Value], members: list[Node]) -> None:
    """Build the body of one group and append its `fused` node."""
    body = Builder("body")
    inner: dict[Value, Value] = {}
    operands: list[Value] = []
    inside = {value for node in members for value in node.outputs}

    def operand(value: Value) -> Value:
        operands.append(new[value])
        return body.input(f"x{len(operands) - 1}", value.type)

    def read(value: Value) -> Value:
        if value in inner:
            return inner[value]
        node = value.node
        again = node is not None and (is_cloned(node) or value in partition.recomputed)
        if node is not None and value not in inside and again:
            with body.scope(layer=node.layer, source=node.source):
                inner[value] = body.emit(node.op, *(read(source) for source in node.inputs))
        else:
            inner[value] = operand(value)
        return inner[value]

    outputs = partition.outputs(members) if members[0] in partition.group else list(members[0].outputs)
    if not outputs:
        return
    # The kernel of a contraction reads its factors as its first operands, and by itself; so does a generated one.
    factors = [operand(v) for node in members if reads_memory(node) for v in node.inputs]
    for node in members:
        arguments = factors if reads_memory(node) else [read(value) for value in node.inputs]
        with body.scope(layer=node.layer, source=node.source):
            results = body.emit_all(node.op, *arguments)
        inner.update(zip(node.outputs, results, strict=True))
    for i, value in enumerate(outputs):
        body.output(f"y{i}", inner[value])
    whole = eliminate_dead_code(body.build(), PassContext())
    read_values = {value for node in whole.nodes for value in node.inputs} | set(whole.results)
    kept = [i for i, entry in enumerate(whole.inputs) if entry.value in read_values]
    whole = dataclasses.replace(whole, inputs=tuple(whole.inputs[i] for i in kept))
    with b.scope(layer=_layers(members), source=members[0].source):
        results = b.emit_all(Fused(whole), *(operands[i] for i in kept))
    new.update(zip(outputs, results, strict=True))


def _layers(members: list[Node]) -> str:
    names = list(dict.fromkeys(node.layer for node in members if node.layer))
    return "+".join(names[:3]) + ("+…" if len(names) > 3 else "")
