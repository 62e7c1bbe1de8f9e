"""Executing programs: results, symbol binding, argument errors, memory, failures, profiles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from runtime import (
    Buffer,
    Executable,
    Instruction,
    Kernel,
    KernelError,
    LoadError,
    Profile,
    Program,
    executor,
    set_num_threads,
)
from runtime.arena import address_of
from runtime.dimensions import symbol

ChainMaker = Callable[..., Program]
A = np.float32([3])


def expected_chain(x: np.ndarray, a: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """What the chain program computes, in float64."""
    y = x.astype(np.float64)
    for step in range(steps):
        y = a * y + step
    return y, y.sum(axis=1)


def ramp(rows: int, columns: int = 4) -> np.ndarray:
    return np.arange(rows * columns, dtype=np.float32).reshape(rows, columns) % 11


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest, threads_restored: None) -> int:
    set_num_threads(request.param)
    return request.param


def test_one_executable_serves_every_batch_size(chain: ChainMaker, threads: int) -> None:
    executable = Executable(chain(5))
    for rows in (32, 32, 7, 1, 1000, 32, 0, 7):
        y, sums = executable.run([ramp(rows)], (A,))
        expected_y, expected_sums = expected_chain(ramp(rows), 3.0, 5)
        np.testing.assert_array_equal(y, expected_y)  # small integers: exact in float32
        np.testing.assert_array_equal(sums, expected_sums)
        assert (y.dtype, sums.shape) == (np.float32, (rows,))


def test_bindings_are_reused_and_bounded(chain: ChainMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = Executable(chain(2))
    made: list[int] = []
    binding_class = executor.Binding

    def counting(*arguments: object) -> object:
        made.append(1)
        return binding_class(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(executor, "Binding", counting)
    for rows in (4, 5, 4, 5, 4):
        executable.run([ramp(rows)], (A,))
    assert len(made) == 2
    for rows in range(1, 20):
        executable.run([ramp(rows)], (A,))
    assert len(executable._bindings) == executor._MOST_BINDINGS


def test_outputs_are_fresh_aligned_and_owned_by_the_caller(chain: ChainMaker) -> None:
    executable = Executable(chain(2))
    kept = [executable.run([ramp(3) + number], (A,)) for number in range(5)]
    for number, (y, sums) in enumerate(kept):
        expected_y, expected_sums = expected_chain(ramp(3) + number, 3.0, 2)
        np.testing.assert_array_equal(y, expected_y)
        np.testing.assert_array_equal(sums, expected_sums)
        assert address_of(y) % 64 == 0
        assert address_of(sums) % 64 == 0
        assert y.flags.writeable
    views = [executable.run([ramp(3) + number], (A,))[1][1:] for number in range(5)]
    for number, view in enumerate(views):
        np.testing.assert_array_equal(view, expected_chain(ramp(3) + number, 3.0, 2)[1][1:])


def test_out_is_written_and_returned(chain: ChainMaker) -> None:
    executable = Executable(chain(2))
    y, sums = np.empty((3, 4), np.float32), np.empty(3, np.float32)
    results = executable.run([ramp(3)], (A,), out=(y, sums))
    assert results[0] is y
    assert results[1] is sums
    np.testing.assert_array_equal(y, expected_chain(ramp(3), 3.0, 2)[0])


def test_variables_are_updated_in_place(native: ModuleType) -> None:
    program = Program(
        "count", (), (Buffer("w", "int64", (6,), "variable"),), (), (0,), (),
        (Instruction(0, (0,), (), 6, 0, "increment"),), (native.kernel(native.INCREMENT, "increment"),),
    )  # fmt: skip
    executable = Executable(program)
    first, second = np.zeros(6, np.int64), np.arange(6)
    for _ in range(3):
        assert executable.run([], (first,)) == ()
    executable.run([], [second])
    executable.run([], (first,))
    np.testing.assert_array_equal(first, [4] * 6)
    np.testing.assert_array_equal(second, np.arange(6) + 1)
    variables = [first]
    executable.run([], variables)
    variables[0] = second  # the same list, another array
    executable.run([], variables)
    np.testing.assert_array_equal(first, [5] * 6)
    np.testing.assert_array_equal(second, np.arange(6) + 2)


def test_constants_are_read(native: ModuleType) -> None:
    buffers = (
        Buffer("a", "float32", (1,), "constant", 0),
        Buffer("x", "float32", (3,), "constant", 1),
        Buffer("y", "float32", (3,), "output"),
    )
    program = Program(
        "constants", (), buffers, (), (), (2,), (Instruction(0, (0, 1, 2), (1,), 3),),
        (native.kernel(native.AXPB, "axpb"),), (np.float32([2]), np.float32([1, 2, 3])),
    )  # fmt: skip
    np.testing.assert_array_equal(Executable(program).run([], ())[0], [3, 5, 7])


def test_inputs_that_are_not_contiguous_are_copied_and_not_changed(chain: ChainMaker) -> None:
    executable = Executable(chain(2))
    wide = ramp(3, 8)
    before = wide.copy()
    y, _ = executable.run([wide[:, ::2]], (A,))
    np.testing.assert_array_equal(y, expected_chain(before[:, ::2], 3.0, 2)[0])
    y, _ = executable.run([np.asfortranarray(ramp(3))], (A,))
    np.testing.assert_array_equal(y, expected_chain(ramp(3), 3.0, 2)[0])
    read_only = ramp(3)
    read_only.flags.writeable = False
    y, _ = executable.run([read_only], (A,))
    np.testing.assert_array_equal(y, expected_chain(ramp(3), 3.0, 2)[0])
    np.testing.assert_array_equal(wide, before)


def test_an_input_that_is_a_variable_is_read_before_it_changes(native: ModuleType) -> None:
    buffers = (
        Buffer("a", "float32", (1,), "input"),
        Buffer("x", "float32", (1,), "input"),
        Buffer("w", "float32", (1,), "variable"),
        Buffer("y", "float32", (1,), "output"),
    )
    calls = (Instruction(0, (0, 1, 2), (1,)), Instruction(0, (0, 1, 3), (1,)))
    kernels = (native.kernel(native.AXPB, "axpb"),)
    program = Program("alias", (), buffers, (0, 1), (2,), (3,), calls, kernels)
    w = np.float32([5])
    (y,) = Executable(program).run([np.float32([2]), w], (w,))
    assert w[0] == 11
    assert y[0] == 11  # 23 if the input had been read after the update


def rejected(chain: ChainMaker, error: type[Exception], message: str, inputs: list, variables: tuple = (A,), **more):
    with pytest.raises(error, match=message):
        Executable(chain(2)).run(inputs, variables, **more)


def test_binding_errors(chain: ChainMaker) -> None:
    rejected(
        chain,
        ValueError,
        r"input 'x', declared float32\[batch, 4\]: expected 2 dimensions, got 1",
        [ramp(3)[0]],
    )
    rejected(chain, ValueError, r"expected shape \(3, 4\), got \(3, 5\), batch = 3", [ramp(3, 5)])
    rejected(chain, TypeError, r"input 'x': expected dtype float32, got float64; convert", [np.zeros((3, 4))])
    rejected(chain, TypeError, r"input 'x': expected dtype float32, got >f4", [np.zeros((3, 4), ">f4")])
    rejected(chain, TypeError, r"input 'x': expected a NumPy array, got list", [[[1.0, 2.0, 3.0, 4.0]]])
    rejected(chain, ValueError, r"program 'chain' takes 1 inputs \('x'\), got 2", [ramp(3), ramp(3)])
    rejected(chain, ValueError, r"takes 1 variables \('a'\), got 0", [ramp(3)], ())
    rejected(chain, ValueError, r"variable 'a', declared float32\[1\]: expected shape \(1,\), got \(2,\)",
             [ramp(3)], (np.zeros(2, np.float32),))  # fmt: skip
    rejected(chain, TypeError, r"variable 'a': expected dtype float32, got int64", [ramp(3)], (np.arange(1),))
    rejected(chain, ValueError, r"program 'chain' takes 2 outputs", [ramp(3)], out=(ramp(3),))
    rejected(chain, ValueError, r"output 'sums': expected shape \(3,\), got \(4,\)", [ramp(3)],
             out=(ramp(3), np.zeros(4, np.float32)))  # fmt: skip


def test_arrays_written_in_place_are_never_copied(chain: ChainMaker) -> None:
    read_only = A.copy()
    read_only.flags.writeable = False
    rejected(
        chain,
        ValueError,
        r"variable 'a' is written in place, but the array is read-only",
        [ramp(3)],
        (read_only,),
    )
    y, sums = ramp(3), np.zeros(6, np.float32)[::2]
    rejected(chain, ValueError, r"output 'sums' .* must be contiguous", [ramp(3)], out=(y, sums))


def test_one_symbol_has_one_value(native: ModuleType) -> None:
    batch = symbol("batch")
    buffers = (
        Buffer("x", "float32", (batch,), "input"),
        Buffer("z", "float32", (2, batch), "input"),
        Buffer("e", "float32", (2 * batch + 1,), "input"),
    )
    program = Program("two", ("batch",), buffers, (0, 1, 2), (), (), (), ())
    executable = Executable(program)
    x, z, e = np.zeros(3, np.float32), np.zeros((2, 4), np.float32), np.zeros(7, np.float32)
    with pytest.raises(ValueError, match=r"'batch' is 3 by axis 0 of input 'x', but 4 by axis 1 of input 'z'"):
        executable.run([x, z, e], ())
    with pytest.raises(ValueError, match=r"declared float32\[2\*batch\+1\]: expected shape \(7,\), got \(6,\)"):
        executable.run([x, z[:, :3].copy(), e[:6]], ())
    assert executable.run([x, z[:, :3].copy(), e], ()) == ()
    executable = Executable(replace(program, fixed=(("batch", 3),)))
    assert executable.run([x, z[:, :3].copy(), e], ()) == ()
    with pytest.raises(ValueError, match=r"'z', declared float32\[2, 3\]: expected shape \(2, 3\), got \(2, 4\)$"):
        executable.run([x, z, e], ())
    with pytest.raises(ValueError, match=r"declared float32\[7\]: expected shape \(7,\), got \(6,\)$"):
        executable.run([x, z[:, :3].copy(), e[:6]], ())


def test_symbols_of_variables(native: ModuleType) -> None:
    rows = symbol("rows")
    program = Program(
        "table", ("rows",), (Buffer("w", "int64", (rows,), "variable"),), (), (0,), (),
        (Instruction(0, (0,), (), rows, 0, "increment"),), (native.kernel(native.INCREMENT, "increment"),),
    )  # fmt: skip
    executable = Executable(program)
    for size in (3, 5, 3):
        w = np.zeros(size, np.int64)
        executable.run([], (w,))
        np.testing.assert_array_equal(w, np.ones(size))


def test_variables_must_be_distinct(native: ModuleType) -> None:
    program = Program(
        "pair", (), (Buffer("v", "int64", (2,), "variable"), Buffer("w", "int64", (2,), "variable")),
        (), (0, 1), (), (), (),
    )  # fmt: skip
    shared = np.zeros(4, np.int64)
    with pytest.raises(ValueError, match="variables 'v' and 'w' are the same memory"):
        Executable(program).run([], (shared[:2], shared[:2]))
    Executable(program).run([], (shared[:2], shared[2:]))


def failing(native: ModuleType, status: int, item: int) -> Program:
    return Program(
        "broken", (), (Buffer("w", "int64", (100,), "variable"),), (), (0,), (),
        (
            Instruction(1, (0,), (), 100, 0, "before"),
            Instruction(0, (0,), (status, item), 100, 0, "dense/bias_add"),
            Instruction(1, (0,), (), 100, 0, "after"),
        ),
        (native.kernel(native.FAIL, "fail"), native.kernel(native.INCREMENT, "increment")),
    )  # fmt: skip


@pytest.mark.parametrize("item", [0, 30, 99])
def test_a_failing_kernel_stops_the_run_and_is_named(native: ModuleType, item: int, threads: int) -> None:
    w = np.zeros(100, np.int64)
    executable = Executable(failing(native, -7, item))
    for run in range(3):
        with pytest.raises(KernelError, match=r"instruction 1 \('dense/bias_add'\) .*kernel 'fail' returned status -7"):
            executable.run([], (w,))
        np.testing.assert_array_equal(w, np.full(100, run + 1))  # "after" never ran
    Executable(failing(native, 0, item)).run([], (w,))
    np.testing.assert_array_equal(w, np.full(100, 5))


def test_kernels_that_do_not_link_are_refused_at_once(chain: ChainMaker) -> None:
    program = chain(2)
    bad = Kernel("bad", "0", "bad", b"no code", "")
    with pytest.raises(LoadError, match="'bad'"):
        Executable(replace(program, kernels=(bad, *program.kernels[1:])))


def test_an_empty_program_runs() -> None:
    assert Executable(Program("empty", (), (), (), (), (), (), ())).run([], ()) == ()


def test_a_program_that_went_through_bytes_runs(chain: ChainMaker) -> None:
    executable = Executable(Program.from_bytes(chain(4).to_bytes()))
    np.testing.assert_array_equal(executable.run([ramp(5)], (A,))[0], expected_chain(ramp(5), 3.0, 4)[0])


def test_the_arena_grows_and_is_released(chain: ChainMaker) -> None:
    executable = Executable(chain(3))
    executable.run([ramp(1)], (A,))
    small = executable.arena_bytes
    executable.run([ramp(1000)], (A,))
    assert executable.arena_bytes >= 2 * 16_000 > small
    executable.release()
    assert executable.arena_bytes == 0
    np.testing.assert_array_equal(executable.run([ramp(1)], (A,))[0], expected_chain(ramp(1), 3.0, 3)[0])


def test_profile_notes_every_call(chain: ChainMaker, threads: int) -> None:
    executable, profile = Executable(chain(3)), Profile()
    for _ in range(3):
        executable.run([ramp(2000)], (A,), profile)
    assert len(profile.durations()) == len(profile.times()) == profile.runs == 3
    for run, duration in enumerate(profile.durations()):
        calls = profile.calls(run)
        for position, items in enumerate((8000, 8000, 8000, 2000)):
            shares = sorted((call.first, call.end) for call in calls if call.position == position)
            assert [begin for begin, _ in shares] == [0, *(end for _, end in shares[:-1])]
            assert shares[-1][1] == items
        for thread in range(threads):
            times = [time for call in calls if call.thread == thread for time in (call.begin, call.until)]
            assert times == sorted(times)
        assert all(0 < call.begin < call.until < duration for call in calls)
    assert all(1 <= team <= threads for team in profile.team_sizes())


def test_profile_adds_up_instructions(chain: ChainMaker, threads: int) -> None:
    executable, profile = Executable(chain(3)), Profile()
    assert profile.instructions == ()
    for _ in range(4):
        executable.run([ramp(2000)], (A,), profile)
    executable.run([ramp(2000)], (A,))
    assert profile.runs == 4
    assert [time.label for time in profile.instructions] == ["step 0", "step 1", "step 2", "row sums"]
    assert all(time.nanoseconds > 0 and time.runs == 4 for time in profile.instructions)
    # 8000 additions through memory, one after the other: more than a microsecond, less than 0.1 s.
    assert 1e3 < profile.instructions[3].nanoseconds / 4 < 1e8
    total = sum(time.nanoseconds for time in profile.instructions)
    assert total / threads < profile.total_nanoseconds == pytest.approx(profile.durations().sum())
    assert "row sums (row_sum)" in profile.table()
    assert "4 runs" in repr(profile)
    with pytest.raises(ValueError, match="use one Profile for each program"):
        Executable(chain(2)).run([ramp(2)], (A,), profile)
    profile.clear()
    assert profile.runs == 0
    Executable(chain(2)).run([ramp(2)], (A,), profile)
    assert profile.runs == 1


def test_calls_from_many_threads_take_turns(chain: ChainMaker, threads: int) -> None:
    executable = Executable(chain(6))
    failures: list[str] = []

    def repeat(rows: int) -> None:
        expected = expected_chain(ramp(rows), 3.0, 6)[0]
        for _ in range(100):
            if not np.array_equal(executable.run([ramp(rows)], (A,))[0], expected):
                failures.append(f"{rows} rows")

    workers = [threading.Thread(target=repeat, args=(rows,)) for rows in (3, 50, 700)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert failures == []
