"""A loop of the graph -> instructions that run once for each step, and windows on what outlives a step.

Every state has rows: one for each step and one more if it is kept, else two that take turns. A step reads its state's
row and writes the next one, so nothing is copied from step to step. Where a scan is limited, the rows and stacks of the
other steps are filled by a second, short loop: before the steps in reverse, after them otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compiler.ir import Builder, Fusion, Node, Value
from compiler.limits import reads_leading_steps
from compiler.ops.conversion import StopGradient
from compiler.ops.fused import Fused
from compiler.ops.scan import Scan
from compiler.ops.sources import Full
from compiler.storage import is_kernel, root_of
from compiler.types import TensorType
from runtime.loops import Loop, Window
from runtime.program import Buffer

if TYPE_CHECKING:
    from compiler.assembly import Assembly

__all__ = ["emit_loop"]

Emit = Callable[["Assembly", Node], None]


def emit_loop(a: Assembly, node: Node, emit: Emit) -> None:
    """Add the instructions of a scan and the loops over them.

    Raises:
        NotImplementedError: for a loop in the body of another.
    """
    assert isinstance(node.op, Scan)
    _LoopEmitter(a, node, node.op, emit).run()


@dataclasses.dataclass(slots=True)
class _State:
    """Windows on the rows that a step reads and writes."""

    type: TensorType
    old: Window
    new: Window


class _LoopEmitter:
    def __init__(self, a: Assembly, node: Node, scan: Scan, emit: Emit) -> None:
        self.a, self.node, self.scan, self.emit = a, node, scan, emit
        inner = next((n for n in scan.body.nodes if n.op.fusion is Fusion.LOOP), None)
        if inner is not None:
            raise NotImplementedError(
                f"a loop inside a loop cannot be compiled: '{inner.op.name}' ({inner.layer}) in the body of "
                f"'{scan.name}' ({node.layer}). Use jit=False, or let the outer recurrence run over layers."
            )

    def run(self) -> None:
        """Everything, in the order in which it runs."""
        scan, inputs = self.scan, self.scan.parts(self.node.inputs)
        initial, sequences, constants, limit = inputs
        bound = -1 if limit is None else self.a.index_of(limit)
        states = [self._state(number) for number in range(scan.states)]
        body_states, body_entries, body_constants, _ = scan.parts(scan.body.inputs)
        for entry, state in zip(body_states, states, strict=True):
            self.a.buffer_of[entry.value] = state.old.buffer
        entries = [
            self._window(entry.value, self.a.index_of(x)) for entry, x in zip(body_entries, sequences, strict=True)
        ]
        for entry, value in zip(body_constants, constants, strict=True):
            self.a.buffer_of[entry.value] = self.a.index_of(value)
        for value, state in zip(scan.new_states, states, strict=True):
            self.a.buffer_of[root_of(value)] = state.new.buffer
        stacks = [
            self._window(root_of(value), self.a.index_of(stack))
            for value, stack in zip(scan.stacked, self.node.outputs[scan.states :], strict=True)
        ]
        rows = [window for state in states for window in (state.old, state.new)]
        for number, (value, state) in enumerate(zip(initial, states, strict=True)):
            self._copy(state.type, self.a.index_of(value), self._first_row(number, state))
        if scan.limited and scan.reverse:
            self._fill(states, stacks, bound, (*rows, *stacks))
        first = len(self.a.instructions)
        for inner in filter(is_kernel, scan.body.nodes):
            self.emit(self.a, inner)
        self._loop(first, bound, (*rows, *entries, *stacks), beyond=False)
        if scan.limited and not scan.reverse:
            self._fill(states, stacks, bound, (*rows, *stacks))

    def _loop(self, first: int, bound: int, windows: Sequence[Window], *, beyond: bool) -> None:
        end = len(self.a.instructions)
        if end > first:
            loop = Loop(first, end, self.scan.count, self.scan.reverse, bound, beyond, tuple(windows))
            self.a.loops.append(loop)

    def _state(self, number: int) -> _State:
        scan, value = self.scan, self.node.outputs[number]
        type_ = scan.new_states[number].type
        kept = scan.kept[number]
        rows = self.a.index_of(value) if kept else self.a.rows_of[value]
        old, new = (
            Window(self._moving(type_, f"{name}{number}"), rows, shift, 0 if kept else 2)
            for name, shift in (("old", scan.before_start), ("new", scan.after_start))
        )
        return _State(type_, old, new)

    def _window(self, value: Value, source: int) -> Window:
        """A window on the entries of a buffer, for a value of the body."""
        window = Window(self._moving(value.type, f"entry{len(self.a.buffers)}"), source)
        self.a.buffer_of[value] = window.buffer
        return window

    def _moving(self, type_: TensorType, name: str) -> int:
        self.a.buffers.append(Buffer(name, type_.dtype, type_.shape, "window"))
        return len(self.a.buffers) - 1

    def _first_row(self, number: int, state: _State) -> int:
        """The buffer that is the row of the initial state."""
        scan = self.scan
        row = scan.first_row if scan.kept[number] else scan.first_row % 2
        return self.a.view(state.old.source, state.type, row * state.type.size_in_bytes)

    def _fill(self, states: Sequence[_State], stacks: Sequence[Window], bound: int, windows: Sequence[Window]) -> None:
        """States stay as they are, stacks hold zeros."""
        first = len(self.a.instructions)
        users = self.a.graph.users()
        for state in states:
            self._copy(state.type, state.old.buffer, state.new.buffer)
        outputs = self.node.outputs[self.scan.states :]
        for value, stack, window in zip(self.scan.stacked, outputs, stacks, strict=True):
            if not self._is_read_in_part(stack, users):
                self._zero(value.type, window.buffer)
        self._loop(first, bound, windows, beyond=True)

    def _is_read_in_part(self, value: Value, users: dict[Value, list[Node]]) -> bool:
        """Whether nothing reads the steps beyond the limit: what does is limited by the same value."""
        if value in self.a.graph.results:
            return False
        limit = self.node.inputs[-1]
        for user in users[value]:
            if user.op.fusion is Fusion.ALIAS:
                if not self._is_read_in_part(user.outputs[0], users):
                    return False
            elif not reads_leading_steps(user, {root_of(value)}, limit, self.scan.count):
                return False
        return True

    def _copy(self, type_: TensorType, source: int, target: int) -> None:
        body = Builder("body")
        x = body.input("x0", type_)
        body.output("y0", body.emit(StopGradient(), x))
        read = Value(type_)
        self.a.buffer_of[read] = source
        self._emit_into(Node(Fused(body.build()), (read,), self.node.layer, self.node.source), target)

    def _zero(self, type_: TensorType, target: int) -> None:
        body = Builder("body")
        body.output("y0", body.emit(Full(type_.shape, 0.0, type_.dtype)))
        self._emit_into(Node(Fused(body.build()), (), self.node.layer, self.node.source), target)

    def _emit_into(self, node: Node, target: int) -> None:
        self.a.buffer_of[node.outputs[0]] = target
        self.emit(self.a, node)
