"""Prepared instructions: run again exactly when something that they read may have changed."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from runtime import Buffer, Executable, Instruction, KernelError, Program, ProgramError, contents, set_num_threads
from runtime.dimensions import symbol


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest, threads_restored: None) -> int:
    set_num_threads(request.param)
    return request.param


@pytest.fixture
def program(native: ModuleType) -> Program:
    """Prepared: packed = w[0] + 1, and a counter in the arena is increased. Then y = packed + 1, seen = counter + 1."""
    batch = symbol("batch")
    buffers = (
        Buffer("x", "int64", (batch,), "input"),
        Buffer("w", "int64", (4,), "variable"),
        Buffer("packed", "int64", (1,), "arena", 0),
        Buffer("counter", "int64", (1,), "arena", 1),
        Buffer("rest", "int64", (batch,), "arena", 2),
        Buffer("y", "int64", (batch,), "output"),
        Buffer("seen", "int64", (1,), "output"),
    )
    calls = (
        Instruction(0, (1, 2), (-1, 0, 0), 1, 0, "pack", reads=1),
        Instruction(1, (3,), (), 1, 0, "count"),
        Instruction(1, (4,), (), batch, 0, "overwrite the rest"),
        Instruction(0, (2, 5), (-1, 0, 0), batch, 0, "use", reads=1),
        Instruction(0, (3, 6), (-1, 0, 0), 1, 0, "see", reads=1),
    )
    return Program(
        "prepared", ("batch",), buffers, (0,), (1,), (5, 6), calls,
        (native.kernel(native.LATE_COPY, "late_copy"), native.kernel(native.INCREMENT, "increment")),
        prepared=2,
    )  # fmt: skip


class Caller:
    """Runs the program and says whether it prepared again; checks the result each time."""

    def __init__(self, program: Program, w: np.ndarray) -> None:
        self.executable, self.variables = Executable(program), (w,)
        self.seen: int | None = None

    def __call__(self, size: int = 3, tracked: bool = True) -> bool:
        y, seen = self.executable.run([np.zeros(size, np.int64)], self.variables, tracked=tracked)
        np.testing.assert_array_equal(y, np.full(size, self.variables[0][0] + 2))
        before, self.seen = self.seen, int(seen[0])
        return before is None or self.seen == before + 1


def test_without_a_promise_they_always_run(program: Program, threads: int) -> None:
    call = Caller(program, np.array([5, 0, 0, 0]))
    for value in range(4):
        call.variables[0][0] = value  # nobody is told
        assert call(tracked=False)


def test_they_run_once_for_tracked_variables(program: Program, threads: int) -> None:
    call = Caller(program, np.array([5, 0, 0, 0]))
    assert call()
    for _ in range(12):
        assert not call()
    assert call(tracked=False)
    assert not call()


def test_a_report_makes_them_run_again(program: Program, threads: int) -> None:
    w = np.arange(4)
    call = Caller(program, w)
    call()
    assert not call()
    contents.changed((np.zeros(4, np.int64),))
    assert not call(), "another array"
    for report in (w, w[2:], w[:1]):
        w[0] += 10
        contents.changed((report,))
        assert call()
        assert not call()


def test_other_variables_beside_those_they_read_leave_them_as_they_are(program: Program, threads: int) -> None:
    """A generator of text gets larger caches, and keeps its weights."""
    size = symbol("size")
    beside = replace(
        program,
        symbols=("batch", "size"),
        buffers=(*program.buffers, Buffer("cache", "int64", (size,), "variable")),
        variables=(1, 7),
    )
    w = np.arange(4)
    call = Caller(beside, w)
    call.variables = (w, np.zeros(3, np.int64))
    assert call()
    for length in (3, 5, 5, 7):
        call.variables = (w, np.zeros(length, np.int64))
        assert not call()
    call.variables = (w.copy(), call.variables[1])
    assert call(), "other weights"
    w[0] += 10
    contents.changed((w,))
    call.variables = (w, call.variables[1])
    assert call()
    assert not call()


def test_programs_report_what_they_update(program: Program, native: ModuleType, threads: int) -> None:
    w, other = np.arange(4), np.arange(4)
    call = Caller(program, w)
    call()
    update = Program(
        "update", (), (Buffer("w", "int64", (4,), "variable"),), (), (0,), (),
        (Instruction(0, (0,), (), 4, 0, "increment"),), (native.kernel(native.INCREMENT, "increment"),),
    )  # fmt: skip
    updater = Executable(update)
    updater.run([], (other,))
    assert not call(), "another program's variable"
    for _ in range(3):
        updater.run([], (w,))
        assert call()
    updater.run_steps(3, [], (w,), [])
    assert call()
    # One that began to update before there was anything to tell.
    late = Caller(program, other)
    late()
    assert not late()
    updater.run([], (other,))
    assert late()


def test_a_short_call_that_ran_nothing_reports_nothing(
    native: ModuleType, monkeypatch: pytest.MonkeyPatch, threads_restored: None
) -> None:
    set_num_threads(1)
    update = Program(
        "update", (), (Buffer("w", "int64", (4,), "variable"),), (), (0,), (),
        (Instruction(0, (0,), (), 4, 0, "increment"),), (native.kernel(native.INCREMENT, "increment"),),
    )  # fmt: skip
    updater, variables, reports = Executable(update), (np.arange(4),), []
    updater.run([], variables)
    monkeypatch.setattr(contents.Followers, "tell", lambda self: reports.append(variables[0][0]))
    assert updater.run_again([], variables) == ()
    assert reports == [2]
    with monkeypatch.context() as patch:
        patch.setattr(Executable, "_run_like_before", lambda *_: None)
        assert updater.run_again([], variables) is None
    assert reports == [2], "nothing ran"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Executable, "_run_like_before", interrupted)
        with pytest.raises(KeyboardInterrupt):
            updater.run_again([], variables)
    assert reports == [2, 2], "something may have run"


def test_every_batch_size_uses_the_same_preparation_until_the_arena_moves(program: Program, threads: int) -> None:
    call = Caller(program, np.array([5, 0, 0, 0]))
    call(100)
    call.seen = None
    call(100)
    for size in (3, 100, 1, 50, 3):
        assert not call(size)
    call.variables[0][0] = 8
    contents.changed(call.variables)
    assert call(3)
    for size in (100, 3):
        assert not call(size)
    call.seen = None  # a larger arena: another counter
    call(5000)
    assert not call(5000)
    assert not call(3)


def test_other_variables_and_a_release(program: Program, threads: int) -> None:
    first, second = (np.array([value, 0, 0, 0]) for value in (5, 6))
    call = Caller(program, first)
    call()
    for w in (second, first):
        call.variables = (w,)
        assert call()
        assert not call()
    call.executable.release()
    call.seen = None
    call()
    assert not call()
    first[0] = 9
    contents.changed((first,))
    assert call()


def test_several_steps_prepare_once(program: Program, threads: int) -> None:
    executable, w = Executable(program), np.array([5, 0, 0, 0])
    x = np.zeros(12, np.int64)
    counts = []
    for _ in range(9):
        y, seen = executable.run_steps(4, [x], (w,), [True], tracked=True)
        np.testing.assert_array_equal(y, [7] * 3)
        counts.append(int(seen[0]))
    assert len(set(counts)) == 1
    _, seen = executable.run_steps(4, [x], (w,), [True])
    assert int(seen[0]) == counts[0] + 4, "without a promise, at every step"


def test_after_a_failure_they_run_again(program: Program, native: ModuleType, threads: int) -> None:
    fail = Instruction(2, (0,), (7, 5), symbol("batch"), 0, "fail at item 5", reads=1)
    kernels = (*program.kernels, native.kernel(native.FAIL, "fail"))
    call = Caller(replace(program, instructions=(*program.instructions, fail), kernels=kernels), np.arange(4))
    call(6 - 1)
    assert not call(5)
    with pytest.raises(KernelError, match="fail at item 5"):
        call(6)
    call.seen = None
    call(5)
    assert not call(5)


def test_two_threads_that_change_and_run(program: Program, threads: int) -> None:
    """Whoever runs after the last report sees the last value, whatever was prepared meanwhile."""
    w = np.arange(4)
    executable, x = Executable(program), np.zeros(3, np.int64)
    wrong: list[tuple[int, int]] = []
    stop = threading.Event()

    def predict() -> None:
        while not stop.is_set():
            executable.run([x], (w,), tracked=True)

    worker = threading.Thread(target=predict)
    worker.start()
    for value in range(300):
        w[0] = value
        contents.changed((w,))
        y, _ = executable.run([x], (w,), tracked=True)
        if y[0] != value + 2:
            wrong.append((value, int(y[0])))
    stop.set()
    worker.join(60)
    assert wrong == []


def test_executables_that_are_gone_are_forgotten(program: Program) -> None:
    before = len(contents._watches)
    for _ in range(5):
        Caller(program, np.arange(4))()
    gc.collect()
    Caller(program, np.arange(4))()
    assert len(contents._watches) <= before + 2


def test_a_program_says_what_may_not_be_prepared(program: Program) -> None:
    with pytest.raises(ProgramError, match=r"'overwrite the rest'.* is prepared, but its sizes have symbols"):
        replace(program, prepared=3)
    calls = (*program.instructions[:2], program.instructions[4])
    with pytest.raises(ProgramError, match=r"'see'.* is prepared, but uses output 'seen'"):
        replace(program, instructions=calls, prepared=3)
    with pytest.raises(ProgramError, match="6 of 5 instructions"):
        replace(program, prepared=6)
    writes = replace(program.instructions[2], operands=(2,))
    with pytest.raises(ProgramError, match=r"'overwrite the rest'.* writes 'packed', which is kept from run to run"):
        replace(program, instructions=(*program.instructions[:2], writes, *program.instructions[3:]))
    buffers = (*program.buffers[:2], replace(program.buffers[2], shape=(symbol("batch"),)), *program.buffers[3:])
    with pytest.raises(ProgramError, match="'packed' is kept from run to run, but its shape has symbols"):
        replace(program, buffers=buffers)
    assert Program.from_bytes(program.to_bytes()).prepared == 2
