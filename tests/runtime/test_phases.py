"""How the work of a program is shared: phases hold no two instructions that depend on each other; grains."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import Buffer, Executable, Instruction, Program, phases, set_num_threads
from runtime.phases import Place, grain_counts, phase_spans

APART = [Place(number, 0, 100) for number in range(6)]


def call(reads: tuple[int, ...], writes: tuple[int, ...]) -> Instruction:
    return Instruction(0, (*reads, *writes), reads=len(reads))


def ends(*calls: Instruction, places: list[Place] = APART, work: list[int] | None = None) -> list[int]:
    """The ends of phases that follow each other from the first instruction on."""
    spans = phase_spans(calls, work or [1] * len(calls), places)
    assert [first for first, _ in spans] == [0, *(end for _, end in spans)][: len(spans)]
    return [end for _, end in spans]


def test_independent_instructions_are_one_phase() -> None:
    assert ends(call((0,), (1,)), call((0,), (2,)), call((), (3,))) == [3]


def test_a_phase_ends_before_what_depends_on_it() -> None:
    assert ends(call((0,), (1,)), call((1,), (2,))) == [1, 2], "reads what was written"
    assert ends(call((0,), (1,)), call((2,), (0,))) == [1, 2], "writes what was read"
    assert ends(call((0,), (1,)), call((2,), (1,))) == [1, 2], "writes what was written"
    assert ends(call((0,), (1,)), call((0,), (2,)), call((1,), (3,)), call((2,), (4,))) == [2, 4]


def test_operands_that_an_instruction_does_not_promise_to_read_only_count_as_written() -> None:
    assert ends(Instruction(0, (0, 1)), Instruction(0, (0, 2))) == [1, 2]


def test_places_of_one_memory_meet_where_they_overlap() -> None:
    places = [Place(-1, 0, 64), Place(-1, 64, 128), Place(-1, 32, 96)]
    assert ends(call((), (0,)), call((), (1,)), places=places) == [2]
    assert ends(call((), (0,)), call((), (2,)), places=places) == [1, 2]


def test_instructions_without_work_bind_nothing() -> None:
    calls = call((0,), (1,)), call((1,), (2,)), call((3,), (4,))
    assert ends(*calls, work=[1, 0, 1]) == [3]
    assert ends(*calls, work=[0, 0, 0]) == []
    assert ends(call((), ()), work=[1]) == [1]


def test_no_phase_reaches_over_a_break() -> None:
    calls = [call((i,), (i + 1,)) for i in range(5)]

    def spans(*work: int) -> list[tuple[int, int]]:
        return phase_spans(calls, work, APART, {2, 4})

    assert spans(1, 0, 0, 1, 1) == [(0, 2), (2, 4), (4, 5)]
    assert spans(0, 0, 0, 1, 0) == [(2, 4)], "nothing before the break has work"
    assert spans(0, 0, 0, 0, 1) == [(4, 5)], "a loop without work has no phase"
    assert spans(0, 1, 0, 0, 0) == [(0, 2)]
    assert spans(1, 1, 1, 1, 1) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert spans(0, 0, 0, 0, 0) == []


def test_grains_follow_the_bytes_and_the_items() -> None:
    places = [Place(0, 0, 8 * 1024), Place(1, 0, 64 * 1024), Place(2, 0, 1 << 30)]
    calls = [call((0,), ()), call((0,), (1,)), call((0,), (2,)), call((1,), (1,))]
    none = [0] * 4
    assert grain_counts(calls, [1000] * 4, none, places, 2) == [1, 9, 32, 8]
    assert grain_counts(calls, [5, 0, 3, 1], none, places, 2) == [1, 0, 3, 1]
    assert grain_counts(calls, [1 << 40] * 4, none, places, 3)[2] == 48
    assert grain_counts(calls, [1000] * 4, [1 << 20] * 4, places, 2) == [1, 9, 32, 8]
    packing = [dataclasses.replace(call, fills=True) for call in calls]
    assert grain_counts(packing, [1000] * 4, [1 << 20] * 4, places, 2) == [1, 2, 8, 2]
    assert grain_counts(packing, [1000] * 4, [1 << 26] * 4, places, 2) == [1, 2, 8, 2], "operands 16 times as large"
    assert grain_counts(packing, [1000] * 4, [1 << 27] * 4, places, 2) == [1, 2, 2, 2], "8 times"
    keeping = [dataclasses.replace(call, keeps=True) for call in packing]
    assert grain_counts(keeping, [1000] * 4, [1 << 26] * 4, places, 2) == [1, 2, 32, 2], "filled once a thread"
    assert grain_counts(keeping, [1000] * 4, [1 << 27] * 4, places, 2) == [1, 2, 2, 2]
    assert grain_counts(packing, [1000] * 4, [1 << 10] * 4, places, 2) == [1, 9, 32, 8], "little memory is soon filled"


VARIABLES = 5
OPERAND = st.integers(0, VARIABLES - 1)


@given(
    steps=st.lists(st.tuples(OPERAND, OPERAND, OPERAND, st.integers(0, 40)), min_size=1, max_size=12),
    count=st.integers(2, 4),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_programs_give_what_one_thread_gives(
    native: ModuleType,
    threads_restored: None,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[int, int, int, int]],
    count: int,
) -> None:
    """y = a[0] * x + step over some rows of variables that are read and written in any order."""
    monkeypatch.setattr(phases, "_GRAIN_BYTES", 1)
    calls = tuple(
        Instruction(0, (a, x, y), (number,), work, 0, f"step {number}", reads=2)
        for number, (a, x, y, work) in enumerate(steps)
        if a != y  # an item must not change what another item of its instruction reads
    )
    buffers = tuple(Buffer(f"v{i}", "float32", (40,), "variable") for i in range(VARIABLES))
    kernel = native.kernel(native.AXPB, "axpb")
    program = Program("random", (), buffers, (), tuple(range(VARIABLES)), (), calls, (kernel,))
    start = np.random.default_rng(len(steps)).integers(-2, 3, (VARIABLES, 40)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = [row.copy() for row in start]
        for number, (a, x, y, work) in enumerate(steps):
            if a != y:
                expected[y][:work] = expected[a][0] * expected[x][:work] + np.float32(number)
    executable = Executable(program)
    set_num_threads(count)
    for _ in range(4):
        given_rows = tuple(row.copy() for row in start)
        executable.run([], given_rows)
        for row, right in zip(given_rows, expected, strict=True):
            np.testing.assert_array_equal(row, right)


def test_instructions_of_one_phase_share_the_threads(native: ModuleType, threads_restored: None) -> None:
    """Single items of independent instructions, one of them late: all are done when the next phase reads them."""
    buffers = tuple(Buffer(f"v{i}", "int64", (1,), "variable") for i in range(6))
    calls = [Instruction(0, (0, i), (-1, 0, 0), 1, 0, f"v{i}", reads=1) for i in range(2, 5)]
    calls.insert(0, Instruction(0, (0, 1), (0, 2_000_000, 0), 1, 0, "late", reads=1))
    calls.append(Instruction(0, (1, 5), (-1, 0, 0), 1, 0, "reader", reads=1))
    kernels = (native.kernel(native.LATE_COPY, "late"),)
    program = Program("phase", (), buffers, (), tuple(range(6)), (), tuple(calls), kernels)
    executable = Executable(program)
    for count in (1, 2, 3):
        set_num_threads(count)
        values = tuple(np.array([5 if i == 0 else 0]) for i in range(6))
        executable.run([], values)
        assert [int(value[0]) for value in values] == [5, 6, 6, 6, 6, 7]
