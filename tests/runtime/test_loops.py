"""Loops of programs made by hand: windows, limits, directions, and what a program must not say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtime import Buffer, Executable, Instruction, Program, ProgramError, set_num_threads
from runtime.dimensions import symbol
from runtime.loops import Loop, Window

COLUMNS = 3


@pytest.fixture
def recurrence(native):
    """`recurrence(...)`: rows[t + 1] = a * rows[t] + 1, over the rows of a block, after rows[0] = a * x + 0.

    Buffers: 0 a, 1 x, 2 the limit, 3 the rows, 4 and 5 the windows on two rows, 6 the output, a copy of all rows.
    """

    def make(*, reverse: bool = False, limited: bool = False, beyond: bool = False, period: int = 0) -> Program:
        steps = symbol("steps")
        rows = 2 if period else steps + 1
        buffers = (
            Buffer("a", "float32", (1,), "variable"),
            Buffer("x", "float32", (COLUMNS,), "input"),
            Buffer("limit", "int32", (), "input"),
            Buffer("rows", "float32", (rows, COLUMNS), "arena", 0),
            Buffer("old", "float32", (COLUMNS,), "window"),
            Buffer("new", "float32", (COLUMNS,), "window"),
            Buffer("y", "float32", (rows, COLUMNS), "output"),
            Buffer("steps", "float32", (steps,), "input"),
            Buffer("first", "float32", (COLUMNS,), "arena", 0, (steps % 2 if period else steps) * 12 * reverse),
        )
        before, after = (1, 0) if reverse else (0, 1)
        windows = (Window(4, 3, before, period), Window(5, 3, after, period))
        loop = Loop(2, 3, steps, reverse, 2 if limited else -1, beyond, windows)
        fill = Instruction(0, (0, 3, 3), (0,), rows * COLUMNS, 0, "fill", 2)
        start = Instruction(0, (0, 1, 8), (0,), COLUMNS, 0, "start", 2)
        step = Instruction(0, (0, 4, 5), (1,), COLUMNS, 0, "step", 2)
        copy = Instruction(0, (9, 3, 6), (0,), rows * COLUMNS, 0, "copy", 2)
        one = Buffer("one", "float32", (1,), "constant", 0)
        return Program(
            "recurrence", ("steps",), (*buffers, one), (1, 2, 7), (0,), (6,), (fill, start, step, copy),
            (native.kernel(native.AXPB, "axpb"),), (np.ones(1, np.float32),), loops=(loop,),
        )  # fmt: skip

    return make


def expected(x, a, steps, limit, *, reverse, beyond, period):
    rows = [np.full(COLUMNS, np.nan, np.float32) for _ in range(2 if period else steps + 1)]
    order = range(steps) if not reverse else range(steps - 1, -1, -1)
    place = (lambda t: t % period) if period else (lambda t: t)
    rows[place(steps if reverse else 0)] = a * x
    for t in order:
        if (t < limit) != beyond:
            old, new = (t + 1, t) if reverse else (t, t + 1)
            rows[place(new)] = a * rows[place(old)] + 1
    return np.array(rows)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("period", [0, 2])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limits", ["none", "below", "beyond"])
def test_steps_see_their_rows(recurrence, threads_restored, threads, period, reverse, limits):
    set_num_threads(threads)
    beyond = limits == "beyond"
    program = Executable(recurrence(reverse=reverse, limited=limits != "none", beyond=beyond, period=period))
    a, x = np.float32(0.5), np.arange(COLUMNS, dtype=np.float32)
    for steps in (0, 1, 2, 5, 40):
        for limit in (-1, 0, 3, steps, steps + 2):
            inputs = [x, np.array(limit, np.int32), np.zeros(steps, np.float32)]
            (y,) = program.run(inputs, (np.array([a]),))
            bound = steps if limits == "none" else limit
            wanted = expected(x, a, steps, bound, reverse=reverse, beyond=beyond, period=period)
            known = ~np.isnan(wanted)
            np.testing.assert_array_equal(y[known], wanted[known], err_msg=f"{steps} steps, limit {limit}")


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_nothing_to_do_before_a_loop(native, threads_restored, threads):
    """The first phase with work begins with the loop, not with the instructions before it, which have none."""
    steps, none = symbol("steps"), symbol("none")
    buffers = (
        Buffer("a", "float32", (1,), "variable"),
        Buffer("x", "float32", (steps, COLUMNS), "input"),
        Buffer("nothing", "float32", (none,), "input"),
        Buffer("unused", "float32", (none,), "arena"),
        Buffer("old", "float32", (COLUMNS,), "window"),
        Buffer("new", "float32", (COLUMNS,), "window"),
        Buffer("y", "float32", (steps, COLUMNS), "output"),
    )
    calls = (
        Instruction(0, (0, 2, 3), (0,), none, 0, "nothing", 2),
        Instruction(0, (0, 4, 5), (1,), COLUMNS, 0, "step", 2),
        Instruction(0, (0, 2, 3), (0,), none, 0, "nothing", 2),
    )
    loop = Loop(1, 2, steps, windows=(Window(4, 1), Window(5, 6)))
    kernel = native.kernel(native.AXPB, "axpb")
    program = Program(
        "loop", ("steps", "none"), buffers, (1, 2), (0,), (6,), calls, (kernel,), loops=(loop,)
    )  # fmt: skip
    executable = Executable(program)
    set_num_threads(threads)
    x = np.arange(40 * COLUMNS, dtype=np.float32).reshape(40, COLUMNS)
    for count in (0, 5, 0, 0):
        for _ in range(4):  # some on all threads, some on one
            (y,) = executable.run([x, np.zeros(count, np.float32)], (np.array([2], np.float32),))
            np.testing.assert_array_equal(y, 2 * x + 1)


def test_bytes_keep_the_loops(recurrence):
    program = recurrence(reverse=True, limited=True, beyond=True, period=2)
    again = Program.from_bytes(program.to_bytes())
    assert again.loops == program.loops
    assert again.buffers == program.buffers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": 3, "end": 3}, "has the instructions 3 to 3"),
        ({"end": 9}, "has the instructions 2 to 9"),
        ({"limit": 99}, "limited by buffer 99"),
        ({"limit": 1}, "no int32 scalar"),
        ({"windows": (Window(4, 99), Window(5, 3, 1))}, "a window 4 of 99"),
        ({"windows": (Window(4, 5), Window(5, 3, 1))}, "must be of space 'window'"),
        ({"windows": (Window(4, 3, 0, -2), Window(5, 3, 1))}, "negative period"),
        ({"windows": (Window(4, 3),)}, "'new' is a window of no loop"),
        ({"windows": (Window(4, 3), Window(5, 3, 1, 2))}, "'old' and 'new' are windows of one .* other size or period"),
        ({"count": -1}, "loop 0, count must be a non-negative"),
        ({"count": symbol("rows")}, "loop 0, count uses the unknown symbol 'rows'"),
        ({"first": 1}, "uses 'rows' whole and in windows"),
    ],
    ids=str,
)
def test_what_a_loop_must_not_say(recurrence, change, message):
    program = recurrence()
    if "first" in change and change["first"] == 1:
        calls = (program.instructions[1], program.instructions[0], *program.instructions[2:])
        program = replace(program, instructions=calls, loops=(replace(program.loops[0], first=2),))
    with pytest.raises(ProgramError, match=message):
        replace(program, loops=(replace(program.loops[0], **change),))


@pytest.mark.parametrize("form", [(COLUMNS - 1,), (COLUMNS, 2), (symbol("steps"),)], ids=str)
def test_windows_of_one_buffer_have_one_size(recurrence, form):
    program = recurrence()
    wide = replace(program.buffers[5], shape=form)
    with pytest.raises(ProgramError, match="'old' and 'new' are windows of one buffer, but of other size"):
        replace(program, buffers=(*program.buffers[:5], wide, *program.buffers[6:]))
    as_matrix = replace(program.buffers[5], shape=(1, COLUMNS))
    replace(program, buffers=(*program.buffers[:5], as_matrix, *program.buffers[6:]))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ((Window(4, 3, 1), Window(5, 3, 2)), r"'new' of 'rows' takes the bytes 24 to 84 in 5 steps, but there are 72"),
        ((Window(4, 3, -1), Window(5, 3)), r"'old' of 'rows' takes the bytes -12 to 48 in 5 steps, but there are 72"),
        ((Window(4, 3, 0, 7), Window(5, 3, 3, 7)), r"'new' of 'rows' takes the bytes 0 to 84 in 5 steps"),
        ((Window(4, 8), Window(5, 3)), r"'old' of 'first' takes the bytes 0 to 60 in 5 steps, but there are 12"),
    ],
    ids=str,
)
def test_windows_stay_in_their_buffers(recurrence, reverse, windows, message):
    program = recurrence()
    program = Executable(replace(program, loops=(replace(program.loops[0], windows=windows, reverse=reverse),)))
    x, a = np.zeros(COLUMNS, np.float32), np.ones(1, np.float32)
    limit = np.array(0, np.int32)
    program.run([x, limit, np.zeros(0, np.float32)], (a,))  # no step, no entry
    with pytest.raises(ProgramError, match=message):
        program.run([x, limit, np.zeros(5, np.float32)], (a,))
