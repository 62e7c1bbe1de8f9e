"""The groups of a graph while they grow: what `fuse` merges, and what a merge would store."""

from __future__ import annotations

from collections.abc import Iterable

from compiler.grouping import Plan, Refusal, classify, is_cloned, is_fusible, read_through_clones
from compiler.ir import Fusion, Graph, Node, Value
from compiler.ops.comparison import Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual
from compiler.ops.sources import Full
from compiler.passes.recompute import CHEAP

COMPARISONS = (Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual)
MOST_NODES = 96  # a kernel beyond this size compiles slowly and gains nothing
MOST_OPERANDS = 24


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
        self.group: dict[Node, Group] = {}
        self.unit: dict[Node, Group] = {}  # the groups, and each node that is no kernel by itself
        self.sequence: list[Group | None] = []  # by place; merging leaves holes
        self.recomputed: set[Value] = set()  # read anew from memory by each kernel that needs them
        for node in graph.nodes:
            if is_cloned(node):
                continue
            unit = self.unit[node] = Group([node], len(self.sequence))
            self.sequence.append(unit)
            if is_fusible(node):
                self.group[node] = unit

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

        Where that is cheap, the reader's own readers compute it from the one that is stored.
        """
        read = {v for v in node.inputs if v.node is None or not is_cloned(v.node)}
        if node.op.name not in CHEAP or len(read) != 1 or read.isdisjoint(v for m in group.members for v in m.outputs):
            return False
        stored = self.outputs({*group.members, *self.group[node].members})
        return node.outputs[0] in stored and not read.isdisjoint(stored)

    def _operand_count(self, members: list[Node]) -> int:
        inside = {value for node in members for value in node.outputs}
        read = {value for node in members for value in node.inputs if value not in inside}
        return len(read) + len(self.outputs(members))

    def _between(self, one: Group, other: Group) -> set[Group] | None:
        """What depends on the earlier of two groups and stands before the later one.

        None if the later one reads any of that: merging the two would make a cycle.
        """
        first, last = sorted((one, other), key=lambda group: group.place)
        found: set[Group] = set()
        pending = [first]
        while pending:
            group = pending.pop()
            for reader in [self.unit[r] for node in group.members for v in node.outputs for r in self.readers(v)]:
                if reader is last and group is not first:
                    return None
                if reader not in found and first.place < reader.place < last.place:
                    found.add(reader)
                    pending.append(reader)
        return found

    def _close_ranks(self, one: Group, other: Group, behind: set[Group]) -> None:
        """Give `one` the place of both in the order, before the groups `behind` that depend on the earlier."""
        start, stop = sorted((one.place, other.place))
        rest = [unit for unit in self.sequence[start : stop + 1] if unit not in (None, one, other)]
        order = [unit for unit in rest if unit not in behind]
        order += [one, *(unit for unit in rest if unit in behind)]
        self.sequence[start : stop + 1] = [*order, *[None] * (stop + 1 - start - len(order))]
        for place, unit in enumerate(order, start):
            if unit is not None:
                unit.place = place

    def merge(self, one: Group, other: Group) -> bool:
        """Merge two groups if that is one kernel."""
        if one is other or isinstance(self.judge(one, other), Refusal):
            return False
        self._close_ranks(one, other, self._between(one, other) or set())
        one.members = sorted(one.members + other.members, key=self.position.__getitem__)
        for node in other.members:
            self.group[node] = self.unit[node] = one
        return True
