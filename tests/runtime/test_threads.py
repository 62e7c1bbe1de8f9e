"""Threads: the split of work, equal bits, sharing the pool, forks, exits, idle cores."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import Buffer, Executable, Instruction, Program, get_num_threads, phases, set_num_threads, threads
from runtime.operating_system import _control_group_cores, usable_cores

ChainMaker = Callable[..., Program]
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _restored(threads_restored: None) -> None:
    """Every test here may change the number of threads."""


def recorder(native: ModuleType) -> Program:
    """Each thread writes the end of its range at the place of its beginning."""
    return Program(
        "record", (), (Buffer("w", "int64", (1000,), "variable"),), (), (0,), (),
        (Instruction(0, (0,), (), 1000, 0, "record"),), (native.kernel(native.RECORD_RANGE, "record"),),
    )  # fmt: skip


@pytest.fixture
def fine_grains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the smallest instruction is cut for all threads."""
    monkeypatch.setattr(phases, "_GRAIN_BYTES", 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_threads_take_parts_that_cover_the_work(native: ModuleType, count: int, fine_grains: None) -> None:
    set_num_threads(count)
    for _ in range(20):
        w = np.zeros(1000, np.int64)
        Executable(recorder(native)).run([], (w,))
        parts, begin = 0, 0
        while begin < 1000:
            assert w[begin] > begin
            begin, parts = w[begin], parts + 1
        assert begin == 1000
        assert np.count_nonzero(w) == parts
        # 16 grains for each thread, in three parts: 12, 3, 1.
        assert parts == (1 if count == 1 else 3 * count)


@given(work=st.integers(0, 12), count=st.integers(1, 5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_item_is_worked_on_once(native: ModuleType, work: int, count: int, fine_grains: None) -> None:
    program = Program(
        "count", (), (Buffer("w", "int64", (12,), "variable"),), (), (0,), (),
        (Instruction(0, (0,), (), work, 0, "add"),), (native.kernel(native.INCREMENT, "increment"),),
    )  # fmt: skip
    set_num_threads(count)
    w = np.zeros(12, np.int64)
    Executable(program).run([], (w,))
    np.testing.assert_array_equal(w, [1] * work + [0] * (12 - work))


def test_results_are_the_same_bits_on_any_number_of_threads(chain: ChainMaker) -> None:
    x = np.random.default_rng(0).standard_normal((501, 16)).astype(np.float32)
    a = np.float32([0.7])
    executable = Executable(chain(20, 16))
    bits = set()
    for count in (1, 2, 3, 4, 1, 2):
        set_num_threads(count)
        for _ in range(5):
            bits.add(b"".join(array.tobytes() for array in executable.run([x], (a,))))
    assert len(bits) == 1


@pytest.mark.parametrize(
    ("first_work", "late", "second_work"),
    [(2, 1, 1), (1, 0, 2), (2, 1, 2), (2, 0, 2)],
    ids=["parts then one", "one then parts", "second part late", "first part late"],
)
def test_an_instruction_sees_all_that_the_one_before_it_wrote(
    native: ModuleType, fine_grains: None, first_work: int, late: int, second_work: int
) -> None:
    """One item of the first instruction comes milliseconds late; every item of the second reads its
    result."""
    buffers = tuple(Buffer(name, "int64", (2,), "variable") for name in "xyz")
    calls = (
        Instruction(0, (0, 1), (late, 2_000_000, 0), first_work, 0, "late"),
        Instruction(0, (1, 2), (-1, 0, late), second_work, 0, "reader"),
    )
    kernels = (native.kernel(native.LATE_COPY, "late_copy"),)
    executable = Executable(Program("late", (), buffers, (), (0, 1, 2), (), calls, kernels))
    for count in (2, 3):
        set_num_threads(count)
        x, y, z = np.array([5, 0]), np.zeros(2, np.int64), np.zeros(2, np.int64)
        executable.run([], (x, y, z))
        np.testing.assert_array_equal(z, [7] * second_work + [0] * (2 - second_work))


def test_two_programs_at_once_get_right_results(chain: ChainMaker) -> None:
    """One of them has the pool; the other runs on its own thread meanwhile."""
    set_num_threads(2)
    wrong: list[int] = []

    def repeat(steps: int) -> None:
        executable = Executable(chain(steps, 8))
        x = np.arange(800, dtype=np.float32).reshape(100, 8) % 7
        first = executable.run([x], (np.float32([0.9]),))
        for _ in range(200):
            again = executable.run([x], (np.float32([0.9]),))
            if any(one.tobytes() != other.tobytes() for one, other in zip(first, again, strict=True)):
                wrong.append(steps)

    workers = [threading.Thread(target=repeat, args=(steps,)) for steps in (10, 30)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []
    assert not threads._in_use.locked()


def test_a_busy_pool_is_not_waited_for() -> None:
    set_num_threads(2)
    pool = threads.borrow_pool()
    assert pool is not None
    seen: list[object] = []
    other_thread = threading.Thread(target=lambda: seen.append(threads.borrow_pool()))
    other_thread.start()
    other_thread.join()
    assert seen == [None]
    assert threads.borrow_pool() is pool, "the thread that holds it was interrupted before it gave it back"
    threads.return_pool()
    assert not threads._in_use.locked()
    assert threads.borrow_pool() is pool
    threads.return_pool()
    set_num_threads(3)
    other = threads.borrow_pool()
    threads.return_pool()
    assert other is not None
    assert other.threads == 3
    assert not any(worker.is_alive() for worker in pool._workers)


def test_idle_workers_use_no_processor_time(chain: ChainMaker) -> None:
    set_num_threads(4)
    executable = Executable(chain(3))
    executable.run([np.zeros((50, 4), np.float32)], (np.float32([1]),))
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


def test_no_threads_to_be_had_is_said_once(chain: ChainMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    set_num_threads(5)
    executable = Executable(chain(3))
    x = np.ones((50, 4), np.float32)
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        with pytest.warns(RuntimeWarning, match="cannot start 4 threads .*can't start new thread"):
            first = executable.run([x], (np.float32([2]),))
        executable.run([x], (np.float32([2]),))
    assert get_num_threads() == 1
    set_num_threads(2)
    assert executable.run([x], (np.float32([2]),))[0].tobytes() == first[0].tobytes()


@pytest.mark.parametrize("bad", [0, -1, 1025, 1.5, "two", None, True])
def test_bad_thread_counts(bad: object) -> None:
    with pytest.raises(ValueError, match="the number of threads must be an integer from 1 to 1024"):
        set_num_threads(bad)  # type: ignore[arg-type]


def test_the_environment_sets_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("3", 3), ("", usable_cores())):
        monkeypatch.setattr(threads, "_num_threads", None)
        monkeypatch.setenv("GRAPHCORE_NUM_THREADS", value)
        assert get_num_threads() == expected
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.setenv("GRAPHCORE_NUM_THREADS", "many")
    with pytest.raises(ValueError, match=r"GRAPHCORE_NUM_THREADS must be .*, got 'many'"):
        get_num_threads()


def test_control_group_limits(tmp_path: Path) -> None:
    assert _control_group_cores(tmp_path) is None
    for text, cores in (("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("odd", None)):
        (tmp_path / "cpu.max").write_text(text + "\n")
        assert _control_group_cores(tmp_path) == cores
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    for text, cores in (("-1", None), ("400000", 4)):
        (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(text + "\n")
        assert _control_group_cores(tmp_path) == cores


PRELUDE = f"""
import os, signal, sys, threading, warnings
sys.path.insert(0, {str(HERE)!r})
import numpy as np
import native_kernels as native
from runtime import Buffer, Executable, Instruction, Program, set_num_threads
program = Program("count", (), (Buffer("w", "int64", (64,), "variable"),), (), (0,), (),
    tuple(Instruction(0, (0,), (), 64, 0, "add") for _ in range(50)),
    (native.kernel(native.INCREMENT, "increment"),))
executable = Executable(program)
set_num_threads(3)
def count():
    w = np.zeros(64, np.int64)
    executable.run([], (w,))
    return w.tolist() == [50] * 64
assert count()
"""


def run_script(body: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + body], capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture
def script() -> Iterator[Callable[..., None]]:
    """Run a script after PRELUDE; it must end by itself, with status 0, and print nothing."""

    def run(body: str) -> None:
        result = run_script(body)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")

    return run


def test_a_process_with_parked_workers_ends(script: Callable[..., None]) -> None:
    start = time.monotonic()
    script("")
    assert time.monotonic() - start < 30


def test_a_process_ends_while_a_daemon_thread_runs_programs(script: Callable[..., None]) -> None:
    script("""
def forever():
    while True:
        count()
threading.Thread(target=forever, daemon=True).start()
for _ in range(20):
    assert count()
""")


def test_an_exception_at_exit_does_not_hang() -> None:
    result = run_script("raise SystemExit(3)")
    assert result.returncode == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_runs_programs(script: Callable[..., None]) -> None:
    script("""
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        assert count() and count()
        os._exit(42)
    assert count()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42, status
    assert count()
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_another_thread_runs_programs(script: Callable[..., None]) -> None:
    script("""
warnings.simplefilter("ignore", DeprecationWarning)
stop = False
def until_stopped():
    while not stop:
        count()
worker = threading.Thread(target=until_stopped)
worker.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        assert count()
        os._exit(42)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42, status
stop = True
worker.join()
""")
