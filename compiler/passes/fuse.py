"""Group primitives into kernels.

    %2 = convolution(%x, %w)                       %5 = fused(%x, %w, %b) {
    %3 = broadcast(%b) {axes=(3,)}          ->         %2 = convolution(%x, %w) ...
    %4 = add(%2, %3)                                   %5 = relu(%4)
    %5 = relu(%4)                                  }

Contractions first take the elementwise chain behind them (their epilogue), then reductions take what feeds
them and what follows in the same rows, then the remaining elementwise nodes join each other. For every edge
that stays in memory a remark says why. After this pass a graph holds only `fused` nodes, aliases and constants.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

from compiler.grouping import Plan, Refusal, classify, is_cloned, is_fusible, read_through_clones
from compiler.ir import Builder, Fusion, Graph, Node, Value
from compiler.ops.comparison import Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual
from compiler.ops.fused import Fused
from compiler.ops.sources import Full
from compiler.passes.context import PassContext
from compiler.passes.eliminate_dead_code import eliminate_dead_code

COMPARISONS = (Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual)
MOST_NODES = 96  # a kernel beyond this size compiles slowly and gains nothing
MOST_OPERANDS = 24


class Group:
    """Nodes that become one kernel."""

    __slots__ = ("members",)

    def __init__(self, members: list[Node]) -> None:
        self.members = members


class Partition:
    """The groups of a graph while they grow."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.position = {node: i for i, node in enumerate(graph.nodes)}
        self.users = graph.users()
        self.results = set(graph.results)
        self.known_readers: dict[Value, list[Node]] = {}
        self.group: dict[Node, Group] = {}
        self.recomputed: set[Value] = set()  # read anew from memory by each kernel that needs them
        for node in graph.nodes:
            if is_fusible(node) and not is_cloned(node):
                self.group[node] = Group([node])

    def readers(self, value: Value) -> list[Node]:
        """Nodes that read a value, looking through broadcasts."""
        if value in self.known_readers:
            return self.known_readers[value]
        found = self.known_readers[value] = []
        pending = list(self.users[value])
        for node in pending:  # grows while it is walked
            if is_cloned(node):
                pending.extend(self.users[node.outputs[0]])
            else:
                found.append(node)
        return found

    def producers(self, node: Node) -> list[Node]:
        """Nodes whose values a node reads, looking through broadcasts."""
        found = [value.node for value in read_through_clones(node) if value.node is not None]
        return [source for source in found if not is_cloned(source)]

    def outputs(self, members: Iterable[Node]) -> list[Value]:
        """Values of `members` that something else needs in memory."""
        inside = set(members)
        return [
            value
            for node in members
            for value in node.outputs
            if value not in self.recomputed and not self._stays_inside(value, inside)
        ]

    def recompute_masks(self) -> None:
        """Do not store a comparison of a value that is in memory anyway, e.g. the mask of a relu."""
        stored = {entry.value for entry in self.graph.parameters}
        for group in set(self.group.values()):
            stored.update(self.outputs(group.members))
        for node in self.graph.nodes:
            value = node.outputs[0] if node.outputs else None
            if value is None or value in self.results or type(node.op) not in COMPARISONS or value not in stored:
                continue
            sources = [v for v in node.inputs if v.node is None or not isinstance(v.op, Full)]
            if len(sources) == 1 and sources[0] in stored and sources[0] not in self.recomputed:
                readers = self.users[value]
                if all(r in self.group and r.op.fusion is Fusion.ELEMENTWISE for r in readers):
                    self.recomputed.add(value)

    def _stays_inside(self, value: Value, inside: set[Node]) -> bool:
        pending = [value]
        for inner in pending:  # grows while it is walked
            if inner in self.results:
                return False
            for user in self.users[inner]:
                if is_cloned(user) or user.outputs[0] in self.recomputed:
                    pending.append(user.outputs[0])
                elif user not in inside:
                    return False
        return True

    def judge(self, one: Group, other: Group) -> Plan | Refusal:
        """What merging two groups would give."""
        members = sorted(one.members + other.members, key=self.position.__getitem__)
        if len(members) > MOST_NODES:
            return Refusal(f"the kernel would have more than {MOST_NODES} nodes")
        plan = classify(members, self.outputs(members))
        if isinstance(plan, Refusal):
            return plan
        if self._operand_count(members) > MOST_OPERANDS:
            return Refusal(f"the kernel would have more than {MOST_OPERANDS} operands")
        if self._has_outer_path(members):
            return Refusal("something between the two needs to run in between")
        return plan

    def _operand_count(self, members: list[Node]) -> int:
        inside = {value for node in members for value in node.outputs}
        read = {value for node in members for value in node.inputs if value not in inside}
        return len(read) + len(self.outputs(members))

    def _has_outer_path(self, members: list[Node]) -> bool:
        """Whether a path leaves the members and comes back: then merging them would make a cycle."""
        inside = set(members)
        leaving = {reader for node in members for value in node.outputs for reader in self.readers(value)}
        stack = list(leaving - inside)
        seen: set[Node] = set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            together = self.group[node].members if node in self.group else [node]
            seen.update(together)
            for peer in together:
                for value in peer.outputs:
                    readers = self.readers(value)
                    if not inside.isdisjoint(readers):
                        return True
                    stack.extend(readers)
        return False

    def merge(self, one: Group, other: Group) -> bool:
        """Merge two groups if that is one kernel."""
        if one is other or isinstance(self.judge(one, other), Refusal):
            return False
        one.members = sorted(one.members + other.members, key=self.position.__getitem__)
        for node in other.members:
            self.group[node] = one
        return True


def fuse(graph: Graph, context: PassContext) -> Graph:
    """Partition the graph into kernels; see the module's text."""
    if not any(is_fusible(node) for node in graph.nodes):
        return graph
    partition = Partition(graph)
    _grow_contractions(partition)
    _grow_reductions(partition)
    _grow_maps(partition)
    _explain(partition, context)
    partition.recompute_masks()
    return _rebuild(partition)


def _grow_contractions(partition: Partition) -> None:
    for node in partition.graph.nodes:
        if node.op.fusion is Fusion.CONTRACTION:
            _absorb(partition, partition.group[node], forward=True, kinds=(Fusion.ELEMENTWISE,))


def _grow_reductions(partition: Partition) -> None:
    kinds = (Fusion.ELEMENTWISE, Fusion.REDUCTION, Fusion.INDEXED)
    for node in partition.graph.nodes:
        if node.op.fusion is Fusion.REDUCTION:
            group = partition.group[node]
            _absorb(partition, group, forward=False, kinds=kinds)
            _absorb(partition, group, forward=True, kinds=kinds)


def _grow_maps(partition: Partition) -> None:
    for node in partition.graph.nodes:
        if node not in partition.group or node.op.fusion is Fusion.CONTRACTION:
            continue
        for producer in partition.producers(node):
            if producer in partition.group:
                partition.merge(partition.group[producer], partition.group[node])
    # Siblings that read the same value and have the same shape share one pass over memory.
    for users in partition.users.values():
        readers = [r for r in users if r in partition.group and r.op.fusion is Fusion.ELEMENTWISE]
        for left, right in itertools.pairwise(readers):
            partition.merge(partition.group[left], partition.group[right])


def _absorb(partition: Partition, group: Group, *, forward: bool, kinds: tuple[Fusion, ...]) -> None:
    """Merge neighbours into a group until nothing more fits."""
    refused: set[Node] = set()
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
    return is_fusible(user) and user.op.fusion is not Fusion.CONTRACTION


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
    found: list[Node] = []
    stack = [value.node for value in node.inputs if value.node is not None]
    while stack:
        producer = stack.pop()
        again = not recomputed.isdisjoint(producer.outputs)
        if producer in unit_of and not again:
            found.append(producer)
        if is_cloned(producer) or again:
            stack.extend(value.node for value in producer.inputs if value.node is not None)
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
    # The kernel of a contraction reads its factors as its first operands, and by itself.
    factors = [operand(v) for node in members if node.op.fusion is Fusion.CONTRACTION for v in node.inputs]
    for node in members:
        arguments = factors if node.op.fusion is Fusion.CONTRACTION else [read(value) for value in node.inputs]
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
