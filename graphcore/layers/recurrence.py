"""A cell over the steps of sequences, time first: what `RNN` runs.

What depends on the inputs alone is computed for all steps before the loop, where the cell can say what that is
(`RecurrentCell`); the loop has the rest. Without a mask nothing is selected. With one, a masked row keeps its states,
and steps after the last that is valid in any row are not run; what the mask does to the outputs is done after the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from graphcore import ops, tree
from graphcore.layers.calling import calling
from graphcore.layers.layer import Layer
from graphcore.layers.rnn_cell import RecurrentCell
from graphcore.layers.stacked_rnn_cells import StackedRNNCells
from graphcore.loop_tracing import Loop, run_loop, step_types
from graphcore.tensor import KerasTensor


@dataclass(frozen=True)
class Steps:
    """The order of the steps, and which are valid.

    Attributes:
        reverse: whether the last step comes first.
        mask: (steps, batch, 1), False where a row is padding; None where nothing is.
        first, last: (batch, 1), the first and the last valid step of each row; beyond the ends where it has none.
    """

    reverse: bool
    mask: Any = None
    first: Any = None
    last: Any = None

    @classmethod
    def of(cls, mask: Any, reverse: bool) -> Steps:
        """For a mask (batch, steps), with further axes where features are masked one by one, or None.

        A step is padding where all its features are.
        """
        if mask is None:
            return cls(reverse)
        valid = ops.cast(mask, "bool")
        if len(mask.shape) > 2:
            valid = ops.any(valid, axis=tuple(range(2, len(mask.shape))))
        valid = ops.expand_dims(ops.transpose(valid), -1)
        count = ops.shape(valid)[0]
        step = ops.reshape(ops.arange(count, dtype="int32"), (-1, 1, 1))
        first = ops.min(ops.where(valid, step, ops.cast(count, "int32")), axis=0)
        return cls(reverse, valid, first, ops.max(ops.where(valid, step, -1), axis=0))

    @property
    def limit(self) -> Any:
        """How many leading steps hold a valid row: an int32 scalar."""
        return None if self.mask is None else ops.max(self.last) + 1

    def after_begin(self) -> Any:
        """(steps, batch, 1): whether a row has met a valid step when this one is done."""
        step = ops.reshape(ops.arange(ops.shape(self.mask)[0], dtype="int32"), (-1, 1, 1))
        return step <= self.last if self.reverse else step >= self.first

    def at_end(self, stack: Any) -> Any:
        """The entry of the step that is done last."""
        return stack[0] if self.reverse else stack[-1]


@dataclass(frozen=True)
class Result:
    """Outputs (steps, batch, ...) in the order of the inputs' steps, the output of the step done last, final states.

    The last output is a function: it is computed for who asks, and there is none without a step.
    """

    outputs: Any
    last: Callable[[], Any]
    states: Any


def run_cell(
    cell: Any, sequence: Any, states: Any, steps: Steps, training: Any, zero_output: bool, starts_at_zero: bool
) -> Result:
    """Run a cell.

    Args:
        cell: a layer or any object with `call(inputs, states)`.
        sequence: (steps, batch, ...).
        states: what the first step begins with, in the structure that the cell takes.
        steps: their order and mask.
        training: what the cell is told.
        zero_output: whether outputs of masked steps are zeros; else they repeat the output before, which is zeros
            before the first valid step.
        starts_at_zero: whether the states are known to be zeros.
    """
    if type(cell).call is StackedRNNCells.call:
        return _run_stack(cell, sequence, states, steps, training, zero_output, starts_at_zero)
    step, entries = _step_of(cell, sequence, states, training)
    if steps.mask is None:
        loop = run_loop(step, tree.flatten(states), entries, reverse=steps.reverse)
        return Result(loop.stacks[0], partial(loop.end, 0), tree.pack_sequence_as(states, loop.final))
    return _run_masked(step, entries, states, steps, zero_output, starts_at_zero)


def _run_stack(
    cell: Any, sequence: Any, states: Any, steps: Steps, training: Any, zero_output: bool, starts_at_zero: bool
) -> Result:
    """Cell by cell: each reads all outputs of the one below, so that its inputs are projected at once."""
    finals = []
    result = Result(sequence, lambda: None, None)
    for number, (part, own) in enumerate(zip(cell.cells, states, strict=True)):
        is_last = number == len(cell.cells) - 1
        # What masked steps give to the next cell does not matter: it masks them, too.
        given = own if tree.is_nested(own) else [own]
        result = run_cell(
            part, result.outputs, given, steps, training, zero_output and is_last, starts_at_zero or not is_last
        )
        finals.append(tree.pack_sequence_as(own, tree.flatten(result.states)))
    return Result(result.outputs, result.last, finals)


def _step_of(cell: Any, sequence: Any, states: Any, training: Any) -> tuple[Callable[..., Any], list[Any]]:
    """(states, entries) -> (new states, [output]), all flat, and the sequences it takes entries of."""
    if isinstance(cell, RecurrentCell) and type(cell).call is RecurrentCell.call:
        with calling(cell, training):
            projected = cell.project(sequence, training)

        def advance(own: list[Any], entries: list[Any]) -> tuple[list[Any], list[Any]]:
            with calling(cell, training):
                new = cell.advance(entries[0], own, training)
            return new, [new[0]]

        return advance, [projected]
    function = cell if isinstance(cell, Layer) or callable(cell) else cell.call

    def step(own: list[Any], entries: list[Any]) -> tuple[list[Any], list[Any]]:
        given = entries[0] if not tree.is_nested(sequence) else tree.pack_sequence_as(sequence, entries)
        output, new = function(given, tree.pack_sequence_as(states, own))
        return tree.flatten(new), [output]

    return step, tree.flatten(sequence)


def _run_masked(
    step: Callable[..., Any], entries: list[Any], states: Any, steps: Steps, zero_output: bool, starts_at_zero: bool
) -> Result:
    initial = tree.flatten(states)
    (output_type,), (number,) = step_types(step, initial, entries)
    # An output that is a state is repeated because the state is kept; any other is carried along to be repeated.
    repeats = number is None and not zero_output
    carried = [ops.zeros(output_type.shape, dtype=output_type.dtype)] if repeats else []

    def masked(own: list[Any], given: list[Any]) -> tuple[list[Any], list[Any]]:
        valid, before = given[-1], own[: len(initial)]
        new, (output,) = step(before, given[:-1])
        kept = [_select(valid, value, old) for value, old in zip(new, before, strict=True)]
        if number is not None:
            output = kept[number]
        elif repeats:
            output = _select(valid, output, own[-1])
        return [*kept, *([output] if repeats else [])], [output]

    loop = run_loop(
        masked, [*initial, *carried], [*entries, steps.mask], reverse=steps.reverse, limit=steps.limit
    )
    outputs, last = _masked_outputs(loop, steps, zero_output, starts_at_zero or number is None)
    return Result(outputs, last, tree.pack_sequence_as(states, loop.final[: len(initial)]))


def _masked_outputs(
    loop: Loop, steps: Steps, zero_output: bool, starts_at_zero: bool
) -> tuple[Any, Callable[[], Any]]:
    """All outputs and the last one, where `loop` stacked what a masked step repeats."""
    (outputs,) = loop.stacks
    if zero_output:
        return _select(steps.mask, outputs, 0), lambda: _select(steps.at_end(steps.mask), loop.end(0), 0)
    if starts_at_zero:
        return outputs, partial(loop.end, 0)
    return _select(steps.after_begin(), outputs, 0), lambda: _select(steps.last >= 0, loop.end(0), 0)


def _select(valid: Any, value: KerasTensor, other: Any) -> Any:
    """`value` where valid, which lacks the last axes of it."""
    missing = len(value.shape) - len(valid.shape)
    if missing > 0:
        valid = ops.reshape(valid, (*ops.shape(valid), *(1,) * missing))
    return ops.where(valid, value, other)
