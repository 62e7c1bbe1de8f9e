"""Let loops compute and keep no more than is read.

    %1, %2 = scan(...) {kept=(True,)} over a body that stacks y      ->    %1 = scan(...) {kept=(False,)}
    ... only the last row of %1 is read, and nothing of %2 ...

A state of which only the final value is read is carried in two places that take turns. A stack that nobody reads is
dropped with what only it needs; one that is a new state is that state, kept, unless the scan is limited: beyond the
limit stacks are zero and states stay as they are. Sequences and constants that the body does not read are no inputs any
more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from compiler import functions as f
from compiler.ir import Builder, Graph, Node, Value
from compiler.ops.scan import Rows, Scan
from compiler.passes.context import PassContext
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.rewrite import rewrite
from compiler.storage import is_state, root_of

Item = TypeVar("Item")


def simplify_loops(graph: Graph, context: PassContext) -> Graph:
    """Simplify every loop; see the module's text."""
    if not any(isinstance(node.op, (Scan, Rows)) for node in graph.nodes):
        return graph
    users = graph.users()
    results = set(graph.results)
    finals: set[Value] = set()  # states of which nothing else is left

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if isinstance(node.op, Rows):
            return _rows(b, node.op, inputs[0], finals)
        if not isinstance(node.op, Scan):
            return None
        read = [bool(users[value]) or value in results for value in node.outputs]
        scan = _with_kept(node.op, node, read, users, results)
        scan, arguments = _without_unread(scan, read, inputs)
        if scan == node.op:
            return None
        outputs = b.emit_all(scan, *arguments)
        finals.update(value for value, kept in zip(outputs, scan.kept, strict=False) if not kept)
        return _results(b, node.op, scan, outputs, read)

    return eliminate_dead_code(rewrite(graph, rule), context)


def _rows(b: Builder, rows: Rows, x: Value, finals: set[Value]) -> Sequence[Value] | None:
    """Rows of what is no loop's state are a slice like any other."""
    if x in finals:
        return [f.reshape(b, x, (1, *x.type.shape))]
    if is_state(root_of(x)):
        return None
    return [f.slice_axis_exact(b, x, 0, rows.start, rows.stop)]


def _with_kept(
    scan: Scan, node: Node, read: Sequence[bool], users: dict[Value, list[Node]], results: set[Value]
) -> Scan:
    """Keep those states of which more than the final value is read, as a state or as a stack."""
    stacked = {value for value, flag in zip(scan.stacked, read[scan.states :], strict=True) if flag}
    stacked &= _same_as_states(scan)
    kept = []
    for number, value in enumerate(node.outputs[: scan.states]):
        whole = value in results or any(not _is_final(scan, user) for user in users[value])
        kept.append(scan.new_states[number] in stacked or (scan.kept[number] and whole))
    return dataclasses.replace(scan, kept=tuple(kept))


def _same_as_states(scan: Scan) -> set[Value]:
    """The body's values of which a stack holds what a kept state does."""
    return set() if scan.limited else set(scan.new_states)


def _is_final(scan: Scan, user: Node) -> bool:
    row = scan.final_row
    return isinstance(user.op, Rows) and user.op.start == row and user.op.stop == row + 1


def _without_unread(scan: Scan, read: Sequence[bool], inputs: tuple[Value, ...]) -> tuple[Scan, list[Value]]:
    """Drop stacks that nobody reads or that are states, then parameters that the body does not read."""
    stacks = [
        output
        for output, flag in zip(scan.body.outputs[scan.states :], read[scan.states :], strict=True)
        if flag and output[1] not in _same_as_states(scan)
    ]
    body = dataclasses.replace(scan.body, outputs=(*scan.body.outputs[: scan.states], *stacks))
    body = eliminate_dead_code(body, PassContext())
    needed = {value for node in body.nodes for value in node.inputs} | set(body.results)
    initial, sequences, constants, limit = scan.parts(inputs)
    states, entries, fixed = scan.parts(body.inputs)[:3]
    used = [e.value in needed for e in entries], [e.value in needed for e in fixed]
    parameters = [*states, *_chosen(entries, used[0]), *_chosen(fixed, used[1])]
    arguments = [*initial, *_chosen(sequences, used[0]), *_chosen(constants, used[1])]
    body = dataclasses.replace(body, inputs=tuple(parameters))
    arguments += [] if limit is None else [limit]
    return dataclasses.replace(scan, sequences=sum(used[0]), body=body), arguments


def _chosen(items: Sequence[Item], flags: Sequence[bool]) -> list[Item]:
    return [item for item, flag in zip(items, flags, strict=True) if flag]


def _results(b: Builder, before: Scan, scan: Scan, outputs: Sequence[Value], read: Sequence[bool]) -> list[Value]:
    """What stands for each result of the scan as it was before."""
    found = []
    for number in range(before.states):
        value = outputs[number]
        if not before.kept[number] and scan.kept[number]:
            value = f.final_state(b, scan, value)
        found.append(value)
    stacks = iter(outputs[scan.states :])
    for value, flag in zip(before.stacked, read[before.states :], strict=True):
        if value in _same_as_states(before):
            trajectory = outputs[before.new_states.index(value)]
            found.append(f.states_after(b, scan, trajectory) if flag else trajectory)
        else:
            found.append(next(stacks) if flag else outputs[0])
    return found
