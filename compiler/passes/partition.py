"""The groups of a graph while they grow: what `fuse` merges, and what a merge would store."""

from __future__ import annotations

from collections.abc import Iterable

from compiler.grouping import Plan, Refusal, classify, is_cloned, is_fusible, read_through_clones
from compiler.ir import Fusion, Graph, Node, Value
from compiler.ops.comparison import Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual
from compiler.ops.cost import CHEAP
from compiler.passes.schedule import typical_bytes

COMPARISONS = (Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual)
MOST_NODES = 96  # a kernel beyond this size compiles slowly and gains nothing
MOST_OPERANDS = 24
# Operations that a value which is not stored is made by, and its fewest bytes: smaller ones stay in the caches.
MOST_READ_AGAIN = 3
LEAST_READ_AGAIN = 1 << 14


class Group:
    """Nodes that become one kernel.

    `place` is its position in an order in which every group comes after what it reads.
    """

    __slots__ = ("members", "place")

    def __init__(self, members: list[Node], place: int) -> None:
        self.members = members
        self.place = place


class Partition:
    """The groups of a graph while they grow."""

    def __init__(self, graph: Graph, *, by_image: bool = True) -> None:
        self.graph = graph
        self.by_image = by_image
        self.position = {node: i for i, node in enumerate(graph.nodes)}
        self.users = graph.users()
        self.results = set(graph.results)
        self.known_readers: dict[Value, list[Node]] = {}
        self.exposed = self._exposed()
        self.group: dict[Node, Group] = {}
        self.unit: dict[Node, Group] = {}  # the groups, and each node that is no kernel by itself
        self.sequence: list[Group | None] = []  # by place; merging leaves holes
        self.recomputed: set[Value] = set()  # computed anew by each kernel that reads them
        self.stored: set[Value] = set()  # in memory, once no group grows any more
        self.refused: dict[tuple[Group, int, Group, int], Refusal] = {}
        for node in graph.nodes:
            if is_cloned(node):
                continue
            unit = self.unit[node] = Group([node], len(self.sequence))
            self.sequence.append(unit)
            if is_fusible(node):
                self.group[node] = unit
        self.reads = {node: tuple(dict.fromkeys(self.producers(node))) for node in self.unit}
        self.read_by: dict[Node, list[Node]] = {node: [] for node in self.unit}
        for node, producers in self.reads.items():
            for producer in producers:
                self.read_by[producer].append(node)

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

    def _exposed(self) -> set[Value]:
        """Values that are results, or that a result repeats."""
        found = set(self.results)
        for node in reversed(self.graph.nodes):
            if is_cloned(node) and not found.isdisjoint(node.outputs):
                found.update(node.inputs)
        return found

    def recompute_cheap(self) -> list[Node]:
        """Do not store what a few instructions make of a value that is in memory anyway; the nodes of such values.

        The mask of a relu, or the normalised values that a layer normalisation's gradient reads: each kernel that reads
        them computes them from that value, and from small ones that are repeated along it.
        """
        self.stored = {entry.value for entry in self.graph.parameters}
        for group in set(self.group.values()):
            self.stored.update(self.outputs(group.members))
        found = []
        for node in self.graph.nodes:
            if node in self.group and node.outputs[0] in self.stored and self._is_read_again(node):
                found += [node] if self._read_again(node) else []
        return found

    def _is_read_again(self, node: Node) -> bool:
        value = node.outputs[0]
        is_mask = type(node.op) in COMPARISONS
        if value in self.exposed or not (is_mask or _is_cheap(node)):
            return False
        if any(r not in self.group or r.op.fusion is not Fusion.ELEMENTWISE for r in self.users[value]):
            return False
        sources, between = self._sources(node)
        whole = [source for source in sources if 8 * typical_bytes(source) > typical_bytes(value)]
        if len(whole) != 1 or whole[0] not in self.stored or len(between) >= MOST_READ_AGAIN:
            return False
        if is_mask:
            return len(sources) == 1
        is_computed = whole[0].node is not None or whole[0] in {entry.value for entry in self.graph.inputs}
        return is_computed and typical_bytes(value) >= LEAST_READ_AGAIN

    def _sources(self, node: Node) -> tuple[set[Value], set[Value]]:
        """The values in memory that a node is made of, and what lies between them and the node."""
        shape = node.outputs[0].type.shape
        found, between, pending = set[Value](), set[Value](), list(node.inputs)
        for value in pending:  # grows while it is walked
            if value.node is None or value in found or value in between:
                found.update({value} - between)
            elif is_cloned(value.node):
                pending.extend(value.node.inputs)
            elif value not in self.stored and value.type.shape == shape and _is_cheap(value.node):
                between.add(value)
                pending.extend(value.node.inputs)
            else:
                found.add(value)
        return found, between

    def _read_again(self, node: Node) -> bool:
        """Have a value computed by its readers, if the groups can store what these need instead: whether they can."""
        value = node.outputs[0]
        sources, between = self._sources(node)
        added = {value, *between} - self.recomputed
        self.recomputed |= added
        groups = {self.group[source.node] for source in sources if source.node in self.group}
        for group in groups | {self.group[node]} | self._readers_groups(value):
            members = self._with_recomputed(group.members)
            plan = classify(members, self.outputs(members), by_image=self.by_image)
            if isinstance(plan, Refusal) or self._operand_count(members) > MOST_OPERANDS:
                self.recomputed -= added
                return False
        self.stored.remove(value)
        self.stored |= sources
        return True

    def _readers_groups(self, value: Value) -> set[Group]:
        """The groups that read a value, those that compute a reader anew included."""
        readers = list(self.users[value])
        for reader in readers:  # grows while it is walked
            if reader.outputs[0] in self.recomputed:
                readers.extend(self.users[reader.outputs[0]])
        return {self.group[reader] for reader in readers if reader in self.group}

    def _with_recomputed(self, members: list[Node]) -> list[Node]:
        """The members, and before them what their kernel computes anew."""
        inside = set(members)
        pending = list(members)
        for node in pending:  # grows while it is walked
            for producer in self.producers(node):
                if producer not in inside and not self.recomputed.isdisjoint(producer.outputs):
                    inside.add(producer)
                    pending.append(producer)
        return sorted(inside, key=self.position.__getitem__)

    def _stays_inside(self, value: Value, inside: set[Node]) -> bool:
        if not self.recomputed:
            return value not in self.exposed and inside.issuperset(self.readers(value))
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
        """What merging two groups would give.

        Groups only grow, and no merge undoes a refusal of two that did not grow.
        """
        key = (one, len(one.members), other, len(other.members))
        if key in self.refused:
            return self.refused[key]
        judgement = self._judge(one, other)
        if isinstance(judgement, Refusal):
            self.refused[key] = judgement
        return judgement

    def _judge(self, one: Group, other: Group) -> Plan | Refusal:
        members = sorted(one.members + other.members, key=self.position.__getitem__)
        if len(members) > MOST_NODES:
            return Refusal(f"the kernel would have more than {MOST_NODES} nodes")
        plan = classify(members, self.outputs(members), by_image=self.by_image)
        if isinstance(plan, Refusal):
            return plan
        if self._operand_count(members) > MOST_OPERANDS:
            return Refusal(f"the kernel would have more than {MOST_OPERANDS} operands")
        if self._between(one, other) is None:
            return Refusal("something between the two needs to run in between")
        return plan

    def stores_twice(self, group: Group, node: Node) -> bool:
        """Whether a group that takes a reader would store both what it reads and what it makes of that.

        Where that is cheap, the reader's own readers compute it from the one that is stored. Those of them that read
        nothing else are taken for members: a derivative is often several steps of what its function is made of.
        """
        read = {v for v in node.inputs if v.node is None or not is_cloned(v.node)}
        if node.op.name not in CHEAP or len(read) != 1 or read.isdisjoint(v for m in group.members for v in m.outputs):
            return False
        members = {*group.members, *self.group[node].members}
        if node.outputs[0] not in (stored := self.outputs(members)) or read.isdisjoint(stored):
            return False
        stored = self.outputs(self._with_followers(members, node))
        return node.outputs[0] in stored and not read.isdisjoint(stored)

    def _with_followers(self, members: set[Node], node: Node) -> set[Node]:
        """The members, and the elementwise nodes from `node` on that need nothing beside them."""
        whole = set(members)
        pending = [node]
        for inner in pending:  # grows while it is walked
            for reader in self.readers(inner.outputs[0]):
                is_other_map = reader.op.fusion is Fusion.ELEMENTWISE and reader not in whole
                if is_other_map and whole.issuperset(self.producers(reader)):
                    whole.add(reader)
                    pending.append(reader)
        return whole

    def _operand_count(self, members: list[Node]) -> int:
        inside = {value for node in members for value in node.outputs}
        read = {value for node in members for value in node.inputs if value not in inside}
        return len(read) + len(self.outputs(members))

    def _between(self, one: Group, other: Group) -> tuple[bool, set[Group]] | None:
        """All groups between two in the order that must run before (False) or after (True) their merger.

        None if one of them must do both: merging the two would make a cycle. The search goes from both ends and
        stops when one of them has no more to find; the groups not found may stand on the other side.
        """
        first, last = sorted((one, other), key=lambda group: group.place)
        before, after = set[Group](), set[Group]()
        upward, downward = [last], [first]
        while upward and downward:
            group = downward.pop()
            for reader in {self.unit[r] for node in group.members for r in self.read_by[node]}:
                if reader is last and group is not first:
                    return None
                if reader not in after and first.place < reader.place < last.place:
                    after.add(reader)
                    downward.append(reader)
            group = upward.pop()
            for source in {self.unit[p] for node in group.members for p in self.reads[node]}:
                if source is first and group is not last:
                    return None
                if source not in before and first.place < source.place < last.place:
                    before.add(source)
                    upward.append(source)
        return (False, before) if downward else (True, after)

    def _close_ranks(self, one: Group, other: Group) -> None:
        """Give `one` the place of both in the order, behind what they read and before what reads them."""
        order = self._between(one, other)
        if order is None:
            raise ValueError("merging these groups would make a cycle")
        behind, found = order
        start, stop = sorted((one.place, other.place))
        if not found:
            self.sequence[start] = self.sequence[stop] = None
            one.place = stop if behind else start
            self.sequence[one.place] = one
            return
        rest = [unit for unit in self.sequence[start : stop + 1] if unit not in (None, one, other)]
        first = [unit for unit in rest if (unit in found) is not behind]
        units = [*first, one, *(unit for unit in rest if (unit in found) is behind)]
        self.sequence[start : stop + 1] = [*units, *[None] * (stop + 1 - start - len(units))]
        for place, unit in enumerate(units, start):
            if unit is not None:
                unit.place = place

    def merge(self, one: Group, other: Group) -> bool:
        """Merge two groups if that is one kernel."""
        if one is other or isinstance(self.judge(one, other), Refusal):
            return False
        self._close_ranks(one, other)
        one.members = sorted(one.members + other.members, key=self.position.__getitem__)
        for node in other.members:
            self.group[node] = self.unit[node] = one
        return True


def _is_cheap(node: Node) -> bool:
    return node.op.fusion is Fusion.ELEMENTWISE and node.op.name in CHEAP
