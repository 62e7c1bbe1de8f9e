"""Where values live: aliases, results that may take an input's memory, and lifetimes."""

from __future__ import annotations

from compiler.ir import Fusion, Graph, Node, Value
from compiler.lower import plan_of
from compiler.lower_images import reduced_later
from compiler.ops.fused import FusedGroup
from compiler.ops.scan import Rows, Scan
from compiler.ops.table_rows import PutRows
from compiler.types import item_size, product
from runtime.dimensions import Dim

AT_OWN_INDEX = (Fusion.ELEMENTWISE, Fusion.REDUCTION)


def root_of(value: Value) -> Value:
    """The value whose memory a value is: aliases share their source's."""
    while value.node is not None and value.op is not None and value.op.fusion is Fusion.ALIAS:
        value = value.node.inputs[0]
    return value


def offset_of(value: Value) -> Dim:
    """Bytes from where the memory of a value's root begins to where the value does."""
    offset: Dim = 0
    while value.node is not None and value.op is not None and value.op.fusion is Fusion.ALIAS:
        if isinstance(value.op, Rows):
            offset = offset + value.op.start * product(value.type.shape[1:]) * item_size(value.type.dtype)
        value = value.node.inputs[0]
    return offset


def in_place_pairs(node: Node) -> list[tuple[int, int]]:
    """Pairs (input, output) of a fused node such that the output may overwrite the input.

    That is so where the kernel reads the input only at the index it is about to write, and the types agree.
    """
    if not isinstance(node.op, FusedGroup):
        return []
    body = node.op.body
    plan = plan_of(body)
    if puts := put_pairs(node):
        return puts
    users = body.users()
    later = set(reduced_later(body, plan))
    pairs = []
    for i, entry in enumerate(body.inputs):
        x = entry.value
        if x.type.shape not in (plan.shape, plan.kept) or not users[x]:
            continue
        if any(user.op.fusion not in AT_OWN_INDEX for user in users[x]):
            continue
        if x.type.shape == plan.shape and not later.isdisjoint(users[x]):
            continue  # read again when the elements of a contraction's tail are stored
        pairs += [(i, j) for j, (_, y) in enumerate(body.outputs) if y.type == x.type]
    return pairs


def is_state(value: Value) -> bool:
    """Whether a value is a loop's state, of which parts are seen in place: it lies in the arena and nowhere else."""
    return isinstance(value.op, Scan) and value.index < value.op.states


def put_pairs(node: Node) -> list[tuple[int, int]]:
    """Pairs (input, output) of a fused node such that the output must be the memory of the input, to put rows there."""
    if not isinstance(node.op, FusedGroup):
        return []
    body = node.op.body
    inputs = {entry.value: i for i, entry in enumerate(body.inputs)}
    outputs = enumerate(value for _, value in body.outputs)
    return [(inputs[y.producer.inputs[0]], j) for j, y in outputs if isinstance(y.op, PutRows)]


def last_uses(graph: Graph) -> dict[Value, int]:
    """For each root value the position of the last node that reads it; results live past the end."""
    uses: dict[Value, int] = {}
    for position, node in enumerate(graph.nodes):
        if node.op.fusion is Fusion.ALIAS:
            continue
        for value in node.inputs:
            uses[root_of(value)] = position
    for value in graph.results:
        uses[root_of(value)] = len(graph.nodes)
    return uses


def is_kernel(node: Node) -> bool:
    """Whether a node runs: aliases and constants are memory only."""
    return node.op.fusion in (Fusion.FUSED, Fusion.LOOP)
