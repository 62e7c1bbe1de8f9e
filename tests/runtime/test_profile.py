"""Profiles of runs on different numbers of threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from runtime import Executable, Program, set_num_threads
from runtime.native import nanoseconds_per_tick
from runtime.native_code import CallNote
from runtime.profile import WARM_RUNS, Profile, _Run

Lengths = dict[int, int]


def notes_of(lengths: Lengths) -> np.ndarray:
    """A thread's notes: it spends so many ticks in the kernel of each instruction, one after another."""
    notes, begin = np.zeros((len(lengths), int(CallNote.SIZE)), np.int64), 0
    for row, (position, ticks) in zip(notes, lengths.items(), strict=True):
        row[[CallNote.INDEX, CallNote.FROM, CallNote.UNTIL]] = position, begin, begin + ticks
        begin += ticks
    return notes


def profile_of(program: Program, runs: list[tuple[int, list[Lengths]]]) -> Profile:
    """A profile of runs: how many ticks each took, and what each of its threads did."""
    profile = Profile()
    profile.program = program
    profile._known = [_Run(0, ticks, tuple(map(notes_of, threads))) for ticks, threads in runs]
    return profile


def shares(profile: Profile) -> dict[str, float]:
    rows = (line.split(maxsplit=2) for line in profile.table().splitlines()[1:])
    return {what: float(share.rstrip("%")) for _, share, what in rows}


@pytest.fixture
def mixed(chain: Callable[..., Program]) -> Profile:
    """Two threads that are busy all the time, then one that is."""
    together = (1000, [{0: 600, 1: 400}, {0: 200, 1: 800}])
    alone = (2000, [{0: 1000, 1: 1000}])
    return profile_of(chain(1), [together, alone])


def test_runs_on_one_thread_and_on_two_add_up(mixed: Profile) -> None:
    assert mixed.team_sizes().tolist() == [2, 1]
    np.testing.assert_allclose(mixed.times_per_thread() / nanoseconds_per_tick(), [[400, 600], [1000, 1000]])
    np.testing.assert_allclose(mixed.times_per_thread().sum(1), mixed.durations())
    found = shares(mixed)
    assert found.pop("between the calls of kernels") == 0
    assert sorted(found.values()) == [46.7, 53.3]


def test_a_thread_without_work_counts(chain: Callable[..., Program]) -> None:
    profile = profile_of(chain(1), [(1000, [{0: 500, 1: 500}, {}])])
    assert shares(profile)["between the calls of kernels"] == 50


def test_a_profile_without_runs_has_an_empty_table() -> None:
    assert shares(Profile()) == {"between the calls of kernels": 0}


def test_after_warming_up_the_threads_are_chosen(chain: Callable[..., Program], threads_restored: None) -> None:
    set_num_threads(2)
    executable, profile = Executable(chain(20)), Profile()
    x, variables = np.ones((50, 4), np.float32), (np.float32([1]),)
    for _ in range(WARM_RUNS):
        executable.run([x], variables)
    for _ in range(20):
        executable.run([x], variables, profile)
    assert len(set(profile.team_sizes().tolist())) == 1
