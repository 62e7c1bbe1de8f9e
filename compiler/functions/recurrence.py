"""Recurrences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from compiler.functions.core import make
from compiler.functions.shapes import reshape
from compiler.ir import Builder, Graph, Value
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.ops.scan import Scan

__all__ = ["Recurrence", "final_state", "rows", "scan", "states_after", "states_before"]


class Recurrence(NamedTuple):
    """What a scan leaves: the states after the last step, those after each step, and what was stacked."""

    final: tuple[Value, ...]
    after: tuple[Value, ...]  # [count, ...]
    stacks: tuple[Value, ...]  # [count, ...]


def rows(b: Builder, x: Value, start: Dim, stop: Dim) -> Value:
    """Entries `start` to `stop` of axis 0 of what a kernel has made, where they lie."""
    whole = start == 0 and stop == x.type.shape[0]
    return x if whole else b.emit(make("rows", start=start, stop=stop), x)


def scan(
    b: Builder,
    body: Graph,
    initial: Sequence[Value],
    sequences: Sequence[Value] = (),
    constants: Sequence[Value] = (),
    *,
    count: Dim | None = None,
    reverse: bool = False,
    limit: Value | None = None,
) -> Recurrence:
    """Run `body` over the entries of axis 0 of `sequences`; see `compiler.ops.scan.Scan`.

    Args:
        b: where to emit.
        body: (*states, *entries, *constants) -> (*new states, *what is stacked).
        initial: the states that the first step begins with.
        sequences: [count, ...] each.
        constants: what every step reads whole.
        count: how many steps; needed where there is no sequence.
        reverse: from the last entry to the first.
        limit: an int32 scalar, how many leading entries there are in fact; the others are not computed.

    Raises:
        ValueError: if the body does not fit, or nothing tells how many steps there are.
    """
    if count is None:
        if not sequences:
            raise ValueError("scan: needs `count` where there is no sequence.")
        count = sequences[0].type.shape[0]
    op = cast("Scan", make(
        "scan", states=len(initial), sequences=len(sequences), count=count, kept=(True,) * len(initial),
        reverse=reverse, limited=limit is not None, body=body,
    ))  # fmt: skip
    limits = () if limit is None else (limit,)
    results = b.emit_all(op, *initial, *sequences, *constants, *limits)
    states, stacks = results[: len(initial)], results[len(initial) :]
    final, after = (tuple(find(b, op, x) for x in states) for find in (final_state, states_after))
    return Recurrence(final, after, tuple(stacks))


def final_state(b: Builder, scan: Scan, trajectory: Value) -> Value:
    """A state after the last step, of all its values [count + 1, ...]."""
    row = scan.final_row
    return reshape(b, rows(b, trajectory, row, row + 1), trajectory.type.shape[1:])


def states_before(b: Builder, scan: Scan, trajectory: Value) -> Value:
    """What each step begins with, of all values of a state [count + 1, ...]."""
    return rows(b, trajectory, scan.before_start, scan.before_start + scan.count)


def states_after(b: Builder, scan: Scan, trajectory: Value) -> Value:
    """What each step gives, of all values of a state [count + 1, ...]."""
    return rows(b, trajectory, scan.after_start, scan.after_start + scan.count)
