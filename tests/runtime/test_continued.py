"""Which calls of a kernel go on with what the thread's last call of the same instruction left in private memory."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from runtime import Buffer, Executable, Instruction, Program, set_num_threads

ITEMS = 1 << 16  # of 8 bytes: 16 grains a thread, which three calls take


def marks(native: ModuleType, *, keeps: bool, copies: int = 1) -> Executable:
    """Programs of instructions that depend on nothing, so that they share a phase."""
    outputs = tuple(range(copies))
    return Executable(
        Program(
            name="marks",
            symbols=(),
            buffers=tuple(Buffer(f"y{i}", "int64", (ITEMS,), "output") for i in outputs),
            inputs=(),
            variables=(),
            outputs=outputs,
            instructions=tuple(Instruction(0, (i,), (), ITEMS, 64, f"marks {i}", keeps=keeps) for i in outputs),
            kernels=(native.kernel(native.MARKS, "marks"),),
        )
    )


@pytest.mark.usefixtures("two_threads")
def test_a_thread_goes_on_where_its_last_call_ended(native: ModuleType) -> None:
    executable = marks(native, keeps=True, copies=3)
    seen = np.zeros(3, int)
    for _ in range(200):
        for y in executable.run([], []):
            calls = np.flatnonzero(y)
            seen += np.bincount(y[calls], minlength=3)[:3]
            assert y[0] == 1, "nothing was before"
    assert seen[1] > 0
    assert seen[2] > 0


@pytest.mark.usefixtures("two_threads")
def test_a_kernel_that_keeps_nothing_begins_anew(native: ModuleType) -> None:
    executable = marks(native, keeps=False)
    for _ in range(50):
        (y,) = executable.run([], [])
        assert set(np.unique(y)) == {0, 1}


@pytest.mark.usefixtures("threads_restored")
def test_one_thread_calls_once(native: ModuleType) -> None:
    set_num_threads(1)
    (y,) = marks(native, keeps=True).run([], [])
    assert np.flatnonzero(y).tolist() == [0]
    assert y[0] == 1
