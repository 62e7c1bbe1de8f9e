"""The derivative of a recurrence.

The body and its derivative are first written down as one graph, the *joint*. What the second half reads of the first
is either at hand (inputs, kept states, stacks), cheap enough to compute again, or *saved*: stacked by the forward scan,
which `with_saved` makes of one that was not asked to. The derivative is a scan in the other direction over the second
half; its states are the cotangents of the states.

The cotangent of a constant is a sum over the steps. Where each step's part is one op of stacked values, such as the
product of a kernel's gradient, the sum is one op too, over all steps at once and after the loop (`Op.over_steps`);
elsewhere it is one more state. (Appleyard et al., Optimizing Performance of Recurrent Neural Networks on GPUs, 2016,
section 3.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from compiler import functions as f
from compiler.ir import Builder, Value
from compiler.ops.arithmetic import summands
from compiler.ops.families import Cotangents
from compiler.ops.scan import Scan
from compiler.ops.scan_joint import Joint, with_saved
from runtime.dimensions import Dim

__all__ = ["scan_gradient"]


def scan_gradient(
    b: Builder, scan: Scan, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Cotangents:
    """The gradient rule of `Scan`."""
    states = [cotangents[i] for i in range(scan.states)]
    stacks = list(cotangents[scan.states :])
    whole = with_saved(scan)
    if whole is not scan:
        # Nobody asked for what is needed now: the recurrence runs once more.
        outputs = b.emit_all(whole, *inputs)
        stacks += [None] * (len(whole.stacked) - len(scan.stacked))
    incoming = [_StateCotangent.of(b, scan, i, value) for i, value in enumerate(states)]
    return _Derivative(b, whole, inputs, outputs, incoming, stacks).run()


@dataclasses.dataclass(slots=True)
class _StateCotangent:
    """The cotangent of a state's values: of those after each step, of the first, and of the last."""

    after: Value | None = None  # [count, ...]
    first: Value | None = None
    last: Value | None = None

    @classmethod
    def of(cls, b: Builder, scan: Scan, number: int, cotangent: Value | None) -> _StateCotangent:
        """Parts of the cotangent of result `number`; zeros that padding brought in are left out."""
        if cotangent is None:
            return cls()
        if not scan.kept[number]:
            return cls(last=cotangent)
        result = cls()
        for piece in _terms(cotangent):
            part = cls._of_piece(b, scan, piece)
            result = cls(*(_sum(b, *pair) for pair in zip(result.parts, part.parts, strict=True)))
        return result

    @property
    def parts(self) -> tuple[Value | None, ...]:
        """All three."""
        return self.after, self.first, self.last

    @classmethod
    def _of_piece(cls, b: Builder, scan: Scan, piece: Value) -> _StateCotangent:
        count, start = scan.count, scan.after_start
        node = piece.node
        if node is not None and node.op.name == "pad" and node.op.fields["value"] == 0:
            source, low = node.inputs[0], node.op.fields["low"]
            if low[0] == scan.final_row and source.type.shape[0] == 1:
                return cls(last=_row(b, source, 0))
            if low[0] == scan.first_row and source.type.shape[0] == 1:
                return cls(first=_row(b, source, 0))
            if low[0] == start and source.type.shape[0] == count:
                return cls(after=source)
        return cls(f.slice_axis_exact(b, piece, 0, start, start + count), _row(b, piece, scan.first_row))


def _row(b: Builder, x: Value, at: Dim) -> Value:
    return f.reshape(b, f.slice_axis_exact(b, x, 0, at, at + 1), x.type.shape[1:])


def _sum(b: Builder, first: Value | None, second: Value | None) -> Value | None:
    if first is None or second is None:
        return second if first is None else first
    return f.add(b, first, second)


def _terms(value: Value) -> list[Value]:
    return [*summands(value)][::-1]


class _Derivative:
    """Builds the scan over the second half of the joint, and what comes before and after it."""

    def __init__(
        self,
        b: Builder,
        scan: Scan,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        incoming: Sequence[_StateCotangent],
        stacks: Sequence[Value | None],
    ) -> None:
        self.b, self.scan, self.inputs = b, scan, inputs
        self.incoming, self.stacks = incoming, stacks
        self.joint = Joint(scan, [value is not None for value in stacks])
        self.body = Builder("gradient")
        self.new: dict[Value, Value] = {}  # from the joint to the derivative's body
        self.states: list[tuple[str, Value, Value, Value]] = []  # name, parameter, initial, new value
        self.entries: list[tuple[Value, Value]] = []  # parameter, sequence
        self.fixed: list[tuple[Value, Value]] = []  # parameter, constant
        self.results: list[Value] = []  # stacked
        self.stack_of: dict[Value, Value] = {}  # what the forward scan has of each step, by joint value
        self._find_stacks(outputs)

    def _find_stacks(self, outputs: Sequence[Value]) -> None:
        scan, twin = self.scan, self.joint.twin
        initial, sequences, _, _ = scan.parts(self.inputs)
        parameters = scan.body.inputs
        for entry, sequence in zip(parameters[scan.states :], sequences, strict=False):
            self.stack_of[twin[entry.value]] = sequence
        for value, stack in zip(scan.stacked, outputs[scan.states :], strict=True):
            self.stack_of[twin[value]] = stack
        for number in range(len(initial)):
            trajectory = outputs[number]
            new = twin[scan.new_states[number]]
            self.stack_of.setdefault(new, f.states_after(self.b, scan, trajectory))
            self.stack_of[twin[parameters[number].value]] = f.states_before(self.b, scan, trajectory)

    def run(self) -> list[Value | None]:
        """The cotangents of the scan's inputs."""
        scan = self.scan
        self._seed()
        parameters = scan.body.inputs
        cotangents = dict(zip((entry.value for entry in parameters), self.joint.cotangents, strict=True))
        of_states = [cotangents[entry.value] for entry in parameters[: scan.states]]
        for number, (name, parameter, initial, _) in enumerate(self.states):
            found = of_states[self._float_states[number]]
            new = f.zeros_like(self.body, parameter) if found is None else self._value(found)
            self.states[number] = (name, parameter, initial, new)
        of_sequences = [self._stacked(cotangents[e.value]) for e in parameters[scan.states :][: scan.sequences]]
        of_constants = [
            self._constant(entry.value, cotangents[entry.value]) for entry in parameters[scan.states + scan.sequences :]
        ]
        outputs = self._emit()
        results: list[Value | None] = [None] * scan.states
        for position, number in enumerate(self._float_states):
            results[number] = _sum(self.b, outputs[position], self._initial_part(number))
        first = len(self.states)
        results += [None if at is None else outputs[first + at] for at in of_sequences]
        results += [None if finish is None else finish(outputs) for finish in of_constants]
        return results + [None] * scan.limited

    def _seed(self) -> None:
        """Parameters of the derivative's body for the cotangents that come in."""
        scan, b = self.scan, self.b
        self._float_states = [i for i in range(scan.states) if self.joint.seeds[i] is not None]
        for number in self._float_states:
            type_ = scan.new_states[number].type
            parameter = self.body.input(f"d{number}", type_)
            coming = self.incoming[number]
            start = coming.last
            if coming.after is not None and scan.limited and not scan.reverse:
                start = _sum(b, start, self._beyond_limit(coming.after))
            start = f.full(b, type_.shape, 0.0, type_.dtype) if start is None else start
            self.states.append((f"d{number}", parameter, start, parameter))
            total = parameter
            if coming.after is not None:
                total = f.add(self.body, total, self._entry(f"e{number}", coming.after))
            self.new[self._seed_of(number)] = total
        for number, stack in enumerate(self.stacks):
            if stack is not None:
                self.new[self._seed_of(scan.states + number)] = self._entry(f"g{number}", stack)

    def _seed_of(self, number: int) -> Value:
        seed = self.joint.seeds[number]
        assert seed is not None
        return seed

    def _beyond_limit(self, after: Value) -> Value:
        """The sum over the steps that do not run: there the state is the last one that was computed."""
        b = self.b
        limit = self.inputs[-1]
        steps = f.iota(b, (self.scan.count,), 0, "int32")
        is_beyond = f.spread(b, f.greater_equal(b, steps, limit), after.type.shape, tuple(range(1, after.type.rank)))
        return f.reduce_sum(b, f.where(b, is_beyond, after, 0.0), (0,))

    def _initial_part(self, number: int) -> Value | None:
        """What the initial state's cotangent gets beside the derivative's last state."""
        coming = self.incoming[number]
        if coming.after is not None and self.scan.limited and self.scan.reverse:
            return _sum(self.b, coming.first, self._beyond_limit(coming.after))
        return coming.first

    def _entry(self, name: str, sequence: Value) -> Value:
        """A parameter that is an entry of a sequence."""
        parameter = self.body.input(name, sequence.type.with_shape(*sequence.type.shape[1:]))
        self.entries.append((parameter, sequence))
        return parameter

    def _value(self, value: Value) -> Value:
        """A joint value in the derivative's body."""
        pending = [value]
        while pending:
            current = pending[-1]
            if current in self.new or self._is_at_hand(current):
                pending.pop()
                continue
            node = current.producer
            missing = [source for source in node.inputs if source not in self.new and not self._is_at_hand(source)]
            if missing:
                pending.extend(missing)
                continue
            with self.body.scope(layer=node.layer, source=node.source):
                results = self.body.emit_all(node.op, *(self.new[source] for source in node.inputs))
            self.new.update(zip(node.outputs, results, strict=True))
        return self.new[value]

    def _is_at_hand(self, value: Value) -> bool:
        """Make a parameter of what is stacked or constant; whether it was."""
        if value in self.stack_of:
            self.new[value] = self._entry(f"s{len(self.entries)}", self.stack_of[value])
            return True
        scan = self.scan
        first = scan.states + scan.sequences
        for position, entry in enumerate(scan.body.inputs[first:], first):
            if self.joint.twin[entry.value] is value:
                self.new[value] = self.body.input(f"c{position}", value.type)
                self.fixed.append((self.new[value], self.inputs[position]))
                return True
        return False

    def _stacked(self, value: Value | None) -> int | None:
        """Stack a joint value at every step; its position among the stacks."""
        if value is None:
            return None
        inner = self._value(value)
        if inner not in self.results:
            self.results.append(inner)
        return self.results.index(inner)

    def _constant(self, parameter: Value, cotangent: Value | None) -> Callable[[Sequence[Value]], Value] | None:
        """How to get a constant's cotangent once the derivative's results are there."""
        if cotangent is None:
            return None
        later: list[Callable[[Sequence[Value]], Value]] = []
        rest: Value | None = None
        for piece in _terms(cotangent):
            collected = self._collected(piece)
            if collected is None:
                rest = _sum(self.body, rest, self._value(piece))
            else:
                later.append(collected)
        if rest is not None:
            later.append(self._accumulated(rest))
        b = self.b

        def finish(outputs: Sequence[Value]) -> Value:
            total = later[0](outputs)
            for part in later[1:]:
                total = f.add(b, total, part(outputs))
            return total

        return finish

    def _accumulated(self, part: Value) -> Callable[[Sequence[Value]], Value]:
        position = len(self.states)
        parameter = self.body.input(f"sum{position}", part.type)
        start = f.full(self.b, part.type.shape, 0.0, part.type.dtype)
        self.states.append((f"sum{position}", parameter, start, f.add(self.body, parameter, part)))
        return lambda outputs: outputs[position]

    def _collected(self, piece: Value) -> Callable[[Sequence[Value]], Value] | None:
        """A step's part as one op over all steps, if its operands are, or can be, stacked."""
        node = piece.node
        if node is None or self.joint.is_forward(piece) or not node.op.can_run_over_steps(node.inputs):
            return None
        sources: list[Value | None] = []
        for value in node.inputs:
            if value in self.stack_of:
                sources.append(self.stack_of[value])
            elif self.joint.is_forward(value) or value.node is None:
                return None
            else:
                sources.append(None)
        places = [None if source else self._stacked(v) for source, v in zip(sources, node.inputs, strict=True)]
        b, op, first = self.b, node.op, self

        def finish(outputs: Sequence[Value]) -> Value:
            stacks = [
                outputs[len(first.states) + place] if source is None and place is not None else source
                for source, place in zip(sources, places, strict=True)
            ]
            return op.over_steps(b, [stack for stack in stacks if stack is not None])

        return finish

    def _emit(self) -> Sequence[Value]:
        """The derivative's scan."""
        body, scan = self.body, self.scan
        for number, (_, _, _, new) in enumerate(self.states):
            body.output(f"n{number}", new)
        for number, value in enumerate(self.results):
            body.output(f"y{number}", value)
        parameters = [p for _, p, _, _ in self.states] + [p for p, _ in self.entries] + [p for p, _ in self.fixed]
        order = {value: position for position, value in enumerate(parameters)}
        body.inputs.sort(key=lambda entry: order[entry.value])
        derivative = Scan(
            len(self.states), len(self.entries), scan.count, (False,) * len(self.states), not scan.reverse,
            scan.limited, body.build(),
        )  # fmt: skip
        given = [initial for _, _, initial, _ in self.states] + [given for _, given in (*self.entries, *self.fixed)]
        return self.b.emit_all(derivative, *given, *self.inputs[len(self.inputs) - scan.limited :])
