"""Several runs in one native call: what each step reads and writes, against as many calls of `run`."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import Buffer, Executable, Instruction, KernelError, Program, set_num_threads
from runtime.dimensions import symbol

ChainMaker = Callable[..., Program]
A = np.float32([3])


@pytest.fixture(params=[1, 2, 4])
def threads(request: pytest.FixtureRequest, threads_restored: None) -> int:
    set_num_threads(request.param)
    return request.param


def rows_of(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32)


def totals_program(native: ModuleType) -> Program:
    """Row sums of x, and a counter that every step increments."""
    batch = symbol("batch")
    return Program(
        "totals", ("batch",),
        (
            Buffer("x", "float32", (batch, 4), "input"),
            Buffer("w", "int64", (6,), "variable"),
            Buffer("sums", "float32", (batch,), "output"),
        ),
        (0,), (1,), (2,),
        (Instruction(0, (0, 2), (4,), batch, 64, "row sums"), Instruction(1, (1,), (), 6, 0, "increment")),
        (native.kernel(native.ROW_SUM, "row_sum"), native.kernel(native.INCREMENT, "increment")),
    )  # fmt: skip


def test_steps_take_their_parts_of_inputs_and_outputs(chain: ChainMaker, threads: int) -> None:
    executable = Executable(chain(3))

    @given(st.integers(1, 30), st.integers(0, 9))
    def check(steps: int, rows: int) -> None:
        x = rows_of(steps * rows)
        y, sums = np.full((steps * rows, 4), np.nan, np.float32), np.full(steps * rows, np.nan, np.float32)
        results = executable.run_steps(steps, [x], (A,), [True], out=(y, sums), split_out=(True, True))
        assert results[0] is y
        assert results[1] is sums
        for step in range(steps):
            part = slice(step * rows, (step + 1) * rows)
            expected = executable.run([x[part]], (A,))
            np.testing.assert_array_equal(y[part], expected[0])
            np.testing.assert_array_equal(sums[part], expected[1])

    check()


def test_what_is_not_split_is_the_same_for_all_steps(chain: ChainMaker, threads: int) -> None:
    executable = Executable(chain(2))
    x = rows_of(6)
    fresh = executable.run_steps(3, [x], (A,), [True])
    for result, expected in zip(fresh, executable.run([x[4:]], (A,)), strict=True):
        np.testing.assert_array_equal(result, expected)
    same = executable.run_steps(3, [x], (A,), [False])
    for result, expected in zip(same, executable.run([x], (A,)), strict=True):
        np.testing.assert_array_equal(result, expected)
    y, sums = np.zeros((2, 4), np.float32), np.zeros(6, np.float32)
    executable.run_steps(3, [x], (A,), [True], out=(y, sums), split_out=(False, True))
    np.testing.assert_array_equal(y, executable.run([x[4:]], (A,))[0])
    np.testing.assert_array_equal(sums[:2], executable.run([x[:2]], (A,))[1])


def test_variables_are_updated_by_every_step(native: ModuleType, threads: int) -> None:
    executable = Executable(totals_program(native))
    w = np.arange(6)
    total = 0
    for steps in (1, 7, 400, 2):
        executable.run_steps(steps, [rows_of(3 * steps)], (w,), [True])
        total += steps
        np.testing.assert_array_equal(w, np.arange(6) + total)
    executable.run([rows_of(5)], (w,))  # `run` and `run_steps` share what they have bound
    np.testing.assert_array_equal(w, np.arange(6) + total + 1)


def test_an_input_that_is_not_contiguous_is_copied(chain: ChainMaker) -> None:
    executable = Executable(chain(1))
    wide = np.repeat(rows_of(6), 2, axis=1)
    before = wide.copy()
    _, sums = executable.run_steps(2, [wide[:, ::2]], (A,), [True])
    np.testing.assert_array_equal(sums, executable.run([np.ascontiguousarray(wide[3:, ::2])], (A,))[1])
    np.testing.assert_array_equal(wide, before)


def test_a_failing_step_ends_the_call(native: ModuleType, threads: int) -> None:
    # The kernel fails when its item meets the status; here at once, so that one step was begun and none finished.
    program = Program(
        "broken", (), (Buffer("w", "int64", (100,), "variable"),), (), (0,), (),
        (Instruction(1, (0,), (), 100, 0, "before"), Instruction(0, (0,), (-7, 30), 100, 0, "broken")),
        (native.kernel(native.FAIL, "fail"), native.kernel(native.INCREMENT, "increment")),
    )  # fmt: skip
    executable = Executable(program)
    w = np.zeros(100, np.int64)
    for run in range(2):
        with pytest.raises(KernelError, match=r"'broken'.*status -7"):
            executable.run_steps(5, [], (w,), [])
        np.testing.assert_array_equal(w, np.full(100, run + 1))


def test_arguments_that_do_not_fit_are_refused(chain: ChainMaker) -> None:
    executable = Executable(chain(1))
    x = rows_of(6)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        executable.run_steps(0, [x], (A,), [True])
    with pytest.raises(ValueError, match=r"input 'x' of shape \(6, 4\) cannot be shared out evenly among 4 steps"):
        executable.run_steps(4, [x], (A,), [True])
    with pytest.raises(ValueError, match="expected 1 arrays and as many marks, got 1 and 0"):
        executable.run_steps(2, [x], (A,), [])
    sums = np.empty(6, np.float32)
    with pytest.raises(ValueError, match=r"output 'y': expected shape \(3, 4\), got \(2, 4\)"):
        executable.run_steps(2, [x], (A,), [True], out=(np.empty((4, 4), np.float32), sums), split_out=(True, True))
    with pytest.raises(TypeError, match="output 'y': expected a NumPy array, got NoneType"):
        executable.run_steps(2, [x], (A,), [True], out=(None, sums), split_out=(True, True))  # type: ignore[arg-type]
