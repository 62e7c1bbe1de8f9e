"""`Scan`: a recurrence over the steps of sequences, and `Rows`, a part of what it leaves behind.

    state[t + 1], y[t] = body(state[t], x[t], constants)

The number of steps may be a symbol: one program serves every length. Nothing is unrolled. Steps go forward, or in
reverse from the last to the first; time runs along axis 0 of every sequence. A scan may be *limited*: then its last
input, an int32 scalar, says how many leading steps there are, and the others are neither computed nor read.

The derivative is a scan in the other direction over the derivative of the body (see `compiler.ops.scan_gradient`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compiler import functions as f
from compiler import interpret
from compiler.ir import Array, Builder, Fusion, Graph, Op, Value
from compiler.loops import Element, Expr, Lowering
from compiler.ops.checks import concrete, is_at_most, require_inputs, require_rank
from compiler.ops.families import Cotangents, received
from compiler.ops.registry import op
from compiler.types import TensorType
from runtime.dimensions import Dim, evaluate

__all__ = ["Rows", "Scan", "scan_samples"]


@op
class Rows(Op):
    """Entries `start` to `stop` of axis 0, where they lie: takes no time and no memory."""

    start: Dim
    stop: Dim

    fusion = Fusion.ALIAS

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The same entries' shape; the bounds must lie in the axis."""
        require_inputs(self.name, inputs, 1)
        require_rank(self.name, inputs[0], 1, "input", at_least=True)
        extent = inputs[0].shape[0]
        # What cannot be told of sizes such as n - 1 is taken to fit: a loop has that many steps.
        pairs = ((0, self.start), (self.start, self.stop), (self.stop, extent))
        if any(is_at_most(high + 1, low) for low, high in pairs):
            raise ValueError(
                f"{self.name}: needs 0 <= start <= stop <= {extent}. Received: start={self.start}, stop={self.stop} "
                f"for {inputs[0]}"
            )
        return (inputs[0].with_shape(self.stop - self.start, *inputs[0].shape[1:]),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's basic indexing."""
        start, stop = concrete((self.start, self.stop))
        return (inputs[0][start:stop].copy(),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The cotangent between zeros."""
        rest = (0,) * (inputs[0].type.rank - 1)
        after = inputs[0].type.shape[0] - self.stop
        return (f.pad(b, received(cotangents), (self.start, *rest), (after, *rest)),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The element `start` entries further on."""
        return inputs[0]([k.extent(self.start) + index[0], *index[1:]])

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Parts at either end, in the middle, all and nothing."""
        rng = np.random.default_rng(91)
        for start, stop in ((0, 2), (1, 5), (2, 3), (0, 5), (4, 4)):
            yield cls(start, stop), (rng.normal(size=(5, 3)),)


@op
class Scan(Op):
    """Runs `body` for `count` steps.

    Inputs: the initial `states`, then `sequences` [count, ...], constants, and the limit if the scan is `limited`.
    The body takes the states, one entry of each sequence and the constants, and gives the new states and then what is
    stacked. Results: for each state that is `kept` all its values [count + 1, ...], where entry t (in reverse: t + 1)
    is what step t began with; for each other the final value; then the stacks [count, ...].

    Beyond the limit states stay as they are and stacks hold zeros.
    """

    states: int
    sequences: int
    count: Dim
    kept: tuple[bool, ...]
    reverse: bool
    limited: bool
    body: Graph

    fusion = Fusion.LOOP

    def __post_init__(self) -> None:
        if len(self.kept) != self.states:
            raise ValueError(f"{self.name}: `kept` must say so for each of {self.states} states. Received: {self.kept}")

    @property
    def new_states(self) -> tuple[Value, ...]:
        """The body's values for the next step."""
        return tuple(value for _, value in self.body.outputs[: self.states])

    @property
    def stacked(self) -> tuple[Value, ...]:
        """The body's values that are kept of every step."""
        return tuple(value for _, value in self.body.outputs[self.states :])

    @property
    def constants(self) -> int:
        """How many inputs are the same at every step."""
        return len(self.body.inputs) - self.states - self.sequences

    @property
    def first_row(self) -> Dim:
        """Where among the `count + 1` values of a state the initial one is."""
        return self.count if self.reverse else 0

    @property
    def final_row(self) -> Dim:
        """Where among the `count + 1` values of a state the one after the last step is."""
        return 0 if self.reverse else self.count

    @property
    def before_start(self) -> int:
        """Where among the `count + 1` values of a state those that the steps begin with start."""
        return 1 if self.reverse else 0

    @property
    def after_start(self) -> int:
        """Where among the `count + 1` values of a state those after the steps start."""
        return 0 if self.reverse else 1

    def parts(self, inputs: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any], Any]:
        """The initial states, sequences, constants, and the limit or None."""
        first, second = self.states, self.states + self.sequences
        end = second + self.constants
        return list(inputs[:first]), list(inputs[first:second]), list(inputs[second:end]), (*inputs[end:], None)[0]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The body's parameters must fit, its new states must have the types of the old."""
        require_inputs(self.name, inputs, len(self.body.inputs) + self.limited)
        initial, sequences, constants, limit = self.parts(inputs)
        self._check_sequences(sequences)
        given = [*initial, *(TensorType(x.shape[1:], x.dtype) for x in sequences), *constants]
        expected = [entry.value.type for entry in self.body.inputs]
        if given != expected or self.body.variables or self.body.updates:
            raise ValueError(
                f"{self.name}: the body takes ({', '.join(map(str, expected))}). Received: "
                f"({', '.join(map(str, given))}) at each step"
            )
        new = [value.type for value in self.new_states]
        if new != initial:
            raise ValueError(
                f"{self.name}: the body must give states of the types it takes, ({', '.join(map(str, initial))}). "
                f"Received: ({', '.join(map(str, new))})"
            )
        if limit is not None and limit != TensorType((), "int32"):
            raise TypeError(f"{self.name}: the limit must be an int32 scalar. Received: {limit}")
        finals = [
            type_.with_shape(self.count + 1, *type_.shape) if kept else type_
            for type_, kept in zip(initial, self.kept, strict=True)
        ]
        return (*finals, *(value.type.with_shape(self.count, *value.type.shape) for value in self.stacked))

    def _check_sequences(self, sequences: Sequence[TensorType]) -> None:
        for type_ in sequences:
            if not type_.rank or type_.shape[0] != self.count:
                raise ValueError(
                    f"{self.name}: every sequence must have {self.count} entries on axis 0. Received: {type_}"
                )

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """A Python loop over the steps."""
        initial, sequences, constants, limit = self.parts(inputs)
        count = evaluate(self.count, {})
        steps = count if limit is None else min(max(int(limit), 0), count)
        states, states_after, stacks = initial, [], []
        for step in reversed(range(steps)) if self.reverse else range(steps):
            entries = [*states, *(x[step] for x in sequences), *constants]
            known = {entry.value: array for entry, array in zip(self.body.inputs, entries, strict=True)}
            interpret.evaluate_nodes(self.body.nodes, known, {})
            states = [known[value] for value in self.new_states]
            states_after.append(states)
            stacks.append([known[value] for value in self.stacked])
        if self.reverse:
            states_after.reverse()
            stacks.reverse()
        return (
            *self._trajectories(initial, states, states_after, count),
            *(self._stack(number, stacks, count, inputs) for number in range(len(self.stacked))),
        )

    def _trajectories(
        self, initial: list[Array], final: list[Array], after: list[list[Array]], count: int
    ) -> Iterator[Array]:
        unused = count - len(after)
        for number, kept in enumerate(self.kept):
            series = [states[number] for states in after]
            if self.reverse:
                series += [initial[number]] * (unused + 1)
            else:
                series = [initial[number], *series, *[final[number]] * unused]
            yield np.stack(series) if kept else np.array(final[number])

    def _stack(self, number: int, stacks: list[list[Array]], count: int, inputs: Sequence[Array]) -> Array:
        type_ = self.stacked[number].type
        floats = [array.dtype for array in inputs if array.dtype.kind == "f"]
        dtype = np.dtype(type_.dtype)
        if stacks:
            dtype = stacks[0][number].dtype
        elif dtype.kind == "f" and floats:  # no step told in which precision everything runs
            dtype = np.result_type(*floats)
        result = np.zeros((count, *concrete(type_.shape)), dtype)
        for step, entries in enumerate(stacks):
            result[step] = entries[number]
        return result

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """A scan in the other direction, and sums over all steps for the constants."""
        from compiler.ops.scan_gradient import scan_gradient  # here, since it builds scans

        return scan_gradient(b, self, cotangents, inputs, outputs)

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Those of the body, at every step."""
        return self.body.multiply_adds * self.count

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A loop of kernels, never part of one."""
        raise TypeError("op 'scan' is a loop of kernels and cannot be lowered inside one.")

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Kept and final states, both directions, one step, none, and limits below, at and above the count."""
        yield from scan_samples()


def _cell(units: int, features: int, batch: int) -> Graph:
    """h' = tanh(h @ u + x) * d, c' = c + h' * c, and h' * x stacked; `d` and `u` are constants."""
    b = Builder("cell")
    h, c = (b.input(name, TensorType((batch, units), "float64")) for name in "hc")
    x = b.input("x", TensorType((batch, features), "float64"))
    u = b.input("u", TensorType((units, units), "float64"))
    d = b.input("d", TensorType((units,), "float64"))
    z = f.add(b, f.matmul(b, h, u), x)
    new = f.multiply(b, f.tanh(b, z), d)
    b.output("h", new)
    b.output("c", f.add(b, c, f.multiply(b, f.sigmoid(b, new), c)))
    b.output("y", f.multiply(b, new, x))
    return b.build()


def scan_samples() -> Iterator[tuple[Scan, tuple[Array, ...]]]:
    """What `Scan.samples` gives, typed."""
    rng = np.random.default_rng(92)
    body = _cell(3, 3, 2)
    cases = (
        (4, (True, False), False, None),
        (4, (True, True), True, None),
        (1, (False, True), False, None),
        (0, (True, False), True, None),
        (5, (True, False), False, 3),
        (5, (True, True), True, 3),
        (3, (False, True), False, 0),
        (3, (False, True), True, 7),
    )
    for count, kept, reverse, limit in cases:
        arrays = [rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(count, 2, 3))]
        arrays += [rng.normal(size=(3, 3)), rng.normal(size=3)]
        arrays += [] if limit is None else [np.array(limit, np.int32)]
        yield Scan(2, 1, count, kept, reverse, limit is not None, body), tuple(arrays)
