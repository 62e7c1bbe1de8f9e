"""Loops in a program: the body is traced once, into a graph of its own, whatever the number of steps.

What the body reads of the program around it (tensors, weights) becomes a constant of the loop. A variable that the body
assigns (a counter, the state of a random generator) becomes one more state: each step reads what the one before wrote,
and the program goes on with the last value.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

from compiler import functions
from compiler.ir import Value
from compiler.types import TensorType
from graphcore.tensor import OPERATORS, KerasTensor
from graphcore.tracing import Trace, current_trace
from graphcore.variable import Variable
from runtime.dimensions import Dim

Step = Callable[[list[KerasTensor], list[KerasTensor]], tuple[Sequence[KerasTensor], Sequence[KerasTensor]]]


@dataclasses.dataclass(frozen=True)
class Loop:
    """What a loop leaves.

    Attributes:
        final: the states after the last step.
        stacks: what was stacked, [count, ...] each.
        states: for each stack which state it holds the values of, or None.
        reverse: whether the first entry was done last.
    """

    final: list[KerasTensor]
    stacks: list[KerasTensor]
    states: list[int | None]
    reverse: bool

    def end(self, number: int) -> KerasTensor:
        """What the step that was done last put into this stack."""
        state = self.states[number]
        if state is not None:
            return self.final[state]
        end: KerasTensor = OPERATORS["get_item"](self.stacks[number], 0 if self.reverse else -1)
        return end


class LoopTrace(Trace):
    """The body of a loop under construction, inside the trace `outer`."""

    def __init__(self, outer: Trace) -> None:
        super().__init__("body", training=outer.training)
        self.outer = outer
        self.path, self.depth = list(outer.path), outer.depth
        self.autocast_dtype = outer.autocast_dtype
        self.follows_source = outer.follows_source
        self.builder.layer, self.builder.source = outer.builder.layer, outer.builder.source
        self.constants: dict[Value, Value] = {}  # value outside -> parameter

    def unwrap(self, tensor: KerasTensor) -> Value:
        """The value a tensor stands for; one of the program around the loop comes in as a constant."""
        if tensor.value is None or tensor.trace_number == self.number:
            return super().unwrap(tensor)
        value = self.outer.unwrap(tensor)
        if value not in self.constants:
            self.constants[value] = self.builder.input(f"constant{len(self.constants)}", value.type)
        return self.constants[value]

    def _declare(self, variable: Variable) -> Value:
        key = id(variable)
        if key not in self._initial:
            type_ = TensorType(variable.shape, variable.dtype)
            value = self.builder.input(f"variable{len(self._variables)}", type_)
            self._variables[key] = variable
            self._initial[key] = self._current[key] = value
        return self._initial[key]

    def variables(self) -> Iterator[tuple[Variable, Value, Value]]:
        """Every variable that the body reads: its parameter and its value after the step."""
        for key, variable in self._variables.items():
            yield variable, self._initial[key], self._current[key]

    @contextlib.contextmanager
    def assigning_where(self, condition: KerasTensor) -> Iterator[None]:
        """Inside, variables are assigned only where the condition, a bool scalar of the body, is true."""
        before = {id(variable): value for variable, _, value in self.variables()}
        yield
        for variable, initial, value in self.variables():
            old = before.get(id(variable), initial)
            if value is not old:
                self.assign(variable, functions.where(self.builder, self.unwrap(condition), value, old))


@contextlib.contextmanager
def outside_loops() -> Iterator[None]:
    """Inside, operations go before the loops that are being traced: what they make is the same at every step."""
    trace = inner = current_trace()
    while isinstance(trace, LoopTrace):
        trace = trace.outer
    if trace is None or inner is None:
        yield
        return
    before, trace.autocast_dtype = trace.autocast_dtype, inner.autocast_dtype
    try:
        with trace:
            yield
    finally:
        trace.autocast_dtype = before


def step_types(
    step: Step, initial: Sequence[KerasTensor], sequences: Sequence[KerasTensor]
) -> tuple[list[TensorType], list[int | None]]:
    """The types of what a step stacks, and for each which of the new states it is, if it is one.

    The body is traced and thrown away.
    """
    body = LoopTrace(_open_trace())
    new, stacked = _traced(body, step, initial, sequences)
    values = [body.unwrap(tensor) for tensor in new]
    found = [body.unwrap(tensor) for tensor in stacked]
    return [value.type for value in found], [values.index(v) if v in values else None for v in found]


def run_loop(
    step: Step,
    initial: Sequence[KerasTensor],
    sequences: Sequence[KerasTensor] = (),
    *,
    count: Dim | None = None,
    reverse: bool = False,
    limit: KerasTensor | None = None,
) -> Loop:
    """Run `step` over the entries of axis 0 of `sequences`, in the program being traced.

    Args:
        step: (states, entries) -> (new states, what is stacked); called once, on tensors of the body.
        initial: the states that the first step begins with.
        sequences: [count, ...] each.
        count: how many steps; needed where there is no sequence.
        reverse: from the last entry to the first.
        limit: an int32 scalar: entries from there on are not computed. States stay, and with them what is stacked of
            them; other stacks are zero there.

    Raises:
        ValueError: if a step gives other states than it takes, or adds a loss.
    """
    outer = _open_trace()
    body = LoopTrace(outer)
    new, stacked = _traced(body, step, initial, sequences)
    if body.losses:
        raise ValueError(
            f"Layer '{body.losses[0][0].name}' adds a loss inside a loop, where there would be one at each step. Fix: "
            "add it in the layer that runs the loop."
        )
    assigned = [(var, first, last) for var, first, last in body.variables() if last is not first]
    fixed = [(variable, first) for variable, first, last in body.variables() if last is first]
    new_values = [body.unwrap(tensor) for tensor in new]
    results = [body.unwrap(tensor) for tensor in stacked]
    extra = list(dict.fromkeys(value for value in results if value not in new_values))
    for number, value in enumerate([*new_values, *(last for _, _, last in assigned)]):
        body.builder.output(f"state{number}", value)
    for number, value in enumerate(extra):
        body.builder.output(f"stack{number}", value)
    _order_inputs(body, [*(first for _, first, _ in assigned)], [first for _, first in fixed])
    outer.locate()
    recurrence = functions.scan(
        outer.builder,
        body.builder.build(),
        [*(outer.unwrap(x) for x in initial), *(_now(outer, variable) for variable, _, _ in assigned)],
        [outer.unwrap(x) for x in sequences],
        [*body.constants, *(_now(outer, variable) for variable, _ in fixed)],
        count=count,
        reverse=reverse,
        limit=None if limit is None else outer.unwrap(limit),
    )
    for (variable, _, _), value in zip(assigned, recurrence.final[len(new_values) :], strict=True):
        outer.assign(variable, value)
    states = [new_values.index(value) if value in new_values else None for value in results]
    # A stack that is a state is read off the states.
    stacks = [
        recurrence.stacks[extra.index(value)] if state is None else recurrence.after[state]
        for value, state in zip(results, states, strict=True)
    ]
    final = recurrence.final[: len(new_values)]
    return Loop([*map(outer.wrap, final)], [*map(outer.wrap, stacks)], states, reverse)


def _open_trace() -> Trace:
    trace = current_trace()
    assert trace is not None
    return trace


def _now(trace: Trace, variable: Variable) -> Value:
    """A variable's value at this point, in its own element type."""
    before, trace.autocast_dtype = trace.autocast_dtype, None
    try:
        return trace.unwrap(trace.read(variable))
    finally:
        trace.autocast_dtype = before


def _traced(
    body: LoopTrace, step: Step, initial: Sequence[KerasTensor], sequences: Sequence[KerasTensor]
) -> tuple[list[KerasTensor], list[KerasTensor]]:
    states = [body.input(f"state{i}", x.dims, x.dtype) for i, x in enumerate(initial)]
    entries = [body.input(f"entry{i}", x.dims[1:], x.dtype) for i, x in enumerate(sequences)]
    with body:
        new, stacked = step(states, entries)
    if [(x.dims, x.dtype) for x in new] != [(x.dims, x.dtype) for x in initial]:
        raise ValueError(
            f"A step must give states of the shapes and types it takes, {[(x.shape, x.dtype) for x in initial]}. "
            f"Received: {[(x.shape, x.dtype) for x in new]}"
        )
    return list(new), list(stacked)


def _order_inputs(body: LoopTrace, assigned: Sequence[Value], fixed: Sequence[Value]) -> None:
    """States, then sequences, then constants."""
    inputs = body.builder.inputs
    states = [entry.value for entry in inputs if entry.name.startswith("state")]
    entries = [entry.value for entry in inputs if entry.name.startswith("entry")]
    order = [*states, *assigned, *entries, *body.constants.values(), *fixed]
    place = {value: position for position, value in enumerate(order)}
    body.builder.inputs = sorted(inputs, key=lambda entry: place[entry.value])
