"""Recording all programs of a thread: nothing is missed, whichever way a call takes, and nothing of other threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

from runtime import Executable, Program, recorder, set_num_threads
from runtime.recorder import Recorder

ChainMaker = Callable[..., Program]
A = (np.float32([3]),)
ITEMS = (4, 4, 4, 1)  # of the chain's instructions, for each row


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest, threads_restored: None) -> int:
    set_num_threads(request.param)
    return request.param


def x_of(rows: int) -> np.ndarray:
    return np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)


def test_calls_of_every_kind_are_noted(chain: ChainMaker, threads: int) -> None:
    executable = Executable(chain(3))
    for _ in range(12):  # so that calls like the last one are taken the short way
        executable.run([x_of(7)], A)
    with Recorder() as recorder:
        for _ in range(5):
            executable.run([x_of(7)], A)
        executable.run([x_of(900)], A)
    executable.run([x_of(7)], A)
    small, large = recorder.profiles
    assert [small.runs, large.runs] == [5, 1]
    assert small.values == {"batch": 7}
    assert large.values == {"batch": 900}
    assert small.program is executable.program
    assert (small.items() == [[7 * items for items in ITEMS]] * 5).all()
    assert (large.items() == [[900 * items for items in ITEMS]]).all()
    assert 0 < small.total_nanoseconds + large.total_nanoseconds < recorder.nanoseconds


def test_each_step_of_a_native_call_is_a_run(chain: ChainMaker, threads: int) -> None:
    executable = Executable(chain(3))
    x = x_of(40 * 25)
    with Recorder() as recorder:
        executable.run_steps(40, [x], A, [True])
    (profile,) = recorder.profiles
    assert profile.runs == 40
    assert (profile.items() == [[25 * items for items in ITEMS]] * 40).all()
    spans = profile.spans()
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (spans[:-1, 1] <= spans[1:, 0]).all()
    for run, duration in enumerate(profile.durations()):
        assert all(0 <= call.begin < call.until <= duration for call in profile.calls(run))


def test_long_stretches_are_noted_in_pieces(chain: ChainMaker, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime import executor

    monkeypatch.setattr(executor, "MOST_NOTES", 60)
    executable = Executable(chain(3))
    with Recorder() as recorder:
        results = executable.run_steps(50, [x_of(100)], A, [True])
    assert recorder.profiles[0].runs == 50
    np.testing.assert_array_equal(results[0], executable.run([x_of(100)[-2:]], A)[0])


def test_results_are_the_same_bits(chain: ChainMaker, threads: int) -> None:
    executable = Executable(chain(5))
    expected = executable.run([x_of(300)], A)
    with Recorder():
        found = executable.run([x_of(300)], A)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_threads_are_not_noted(chain: ChainMaker) -> None:
    executable, mine = Executable(chain(3)), Executable(chain(2))

    def run() -> None:
        for _ in range(10):
            executable.run([x_of(7)], A)

    with Recorder() as recorder:
        worker = threading.Thread(target=run)
        worker.start()
        mine.run([x_of(3)], A)
        worker.join()
    assert [profile.program for profile in recorder.profiles] == [mine.program]


def test_one_at_a_time(chain: ChainMaker) -> None:
    with Recorder(), pytest.raises(ValueError, match="being profiled already"), Recorder():
        pass
    assert not recorder.is_anybody_recording()
    with pytest.raises(KeyError), Recorder():
        raise KeyError
    assert not recorder.is_anybody_recording()


# The parent's threads are no more in the child, whatever they held.
FORKING = """
import os, signal, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
from runtime import recorder
begun, done = threading.Event(), threading.Event()

def record():
    with recorder.Recorder(), recorder._lock:
        begun.set()
        done.wait()

other = threading.Thread(target=record)
other.start()
begun.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    recorded = recorder.is_anybody_recording()
    with recorder.Recorder():
        os._exit(int(recorded))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
done.set()
other.join()
"""


class Enlisted:
    """In the place of an executable."""

    def __init__(self, error: type[BaseException] | None = None) -> None:
        self.error = error
        recorder.enlist(self)

    def forget_recent(self) -> None:
        if self.error is not None:
            raise self.error

    def renew_lock(self) -> None:
        pass


def test_an_interrupt_on_entering_leaves_nobody_recording(chain: ChainMaker) -> None:
    interrupting = Enlisted(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt), Recorder():
        pytest.fail("the block is not entered")
    assert not recorder.is_anybody_recording()
    del interrupting
    with Recorder() as after:
        Executable(chain(3)).run([x_of(7)], A)
    assert [profile.runs for profile in after.profiles] == [1]


def test_other_threads_may_make_executables_while_one_begins_to_record() -> None:
    executables = [Enlisted() for _ in range(3000)]
    stop = threading.Event()

    def make() -> None:
        while not stop.is_set() and len(executables) < 100_000:
            executables.append(Enlisted())

    workers = [threading.Thread(target=make) for _ in range(2)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for worker in workers:
            worker.start()
        for _ in range(30):
            with Recorder():
                assert recorder.is_anybody_recording()
    finally:
        stop.set()
        for worker in workers:
            worker.join()
        sys.setswitchinterval(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_another_thread_records_does_not_record() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", FORKING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
