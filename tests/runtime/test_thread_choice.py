"""Choosing between the pool and the calling thread by measured time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from runtime import Executable, Program, set_num_threads
from runtime.thread_choice import ThreadChoice


def simulate(choice: ThreadChoice, runs: int, pooled: Callable[[int], int], alone: int) -> list[bool]:
    """What `runs` runs used, when the pool takes `pooled(run)` ns and the calling thread `alone` ns."""
    used = []
    for run in range(runs):
        wants = choice.begin()
        used.append(wants)
        if choice.is_sampling:
            choice.record(pooled(run) if wants else alone)
    return used


@pytest.mark.parametrize(("pooled", "alone", "expected"), [(50_000, 20_000, False), (60_000, 100_000, True)])
def test_the_quicker_way_is_used(pooled: int, alone: int, expected: bool) -> None:
    used = simulate(ThreadChoice(), 300, lambda run: pooled, alone)
    assert used[:5] == [True, True, True, False, False]
    assert used[5:] == [expected] * 295


def test_a_slow_first_run_does_not_decide() -> None:
    used = simulate(ThreadChoice(), 50, lambda run: 10_000_000 if run == 0 else 50_000, 80_000)
    assert used[5:] == [True] * 45


@pytest.mark.parametrize("pooled", [20_000, 90_000])
def test_settled_runs_are_counted_until_it_is_time_to_measure_again(pooled: int) -> None:
    choice = ThreadChoice()
    assert choice.settled() is None
    simulate(choice, 5, lambda run: pooled, 40_000)
    answers = [choice.settled() for _ in range(400)]
    used = answers.index(None)
    assert answers[:used] == [pooled < 40_000] * used
    assert answers[used:] == [None] * (400 - used)
    assert [choice.begin() for _ in range(2)] == [True, True]
    assert choice.is_sampling


def test_comparing_costs_little() -> None:
    used = simulate(ThreadChoice(), 3000, lambda run: 8_000_000, 16_000_000)
    assert used.count(False) <= 3000 * 0.01


def test_close_times_are_compared_again_soon() -> None:
    used = simulate(ThreadChoice(), 1000, lambda run: 100_000, 110_000)
    assert 10 <= used.count(False) <= 30


def test_a_change_of_the_machines_load_is_noticed() -> None:
    used = simulate(ThreadChoice(), 4000, lambda run: 50_000 if run < 500 else 900_000, 90_000)
    assert used[5:300] == [True] * 295
    assert used[-500:].count(True) <= 6


def test_a_tiny_program_leaves_the_pool_and_a_new_number_of_threads_asks_again(
    chain: Callable[..., Program], threads_restored: None
) -> None:
    set_num_threads(2)
    executable = Executable(chain(20))
    x, variables = np.ones((2, 4), np.float32), (np.float32([1]),)
    for _ in range(5):
        executable.run([x], variables)
    (binding,) = executable._bindings.values()
    assert not binding.thread_choice.is_sampling
    # Whatever was measured, let it be that the calling thread is quicker.
    binding.thread_choice.use_pool = False
    executable.run([x], variables)
    assert binding.pool is None
    binding.thread_choice.use_pool = True
    set_num_threads(3)
    executable.run([x], variables)
    assert binding.pool is not None
    assert binding.pool.threads == 3
    assert binding.thread_choice.is_sampling


@pytest.mark.parametrize("use_pool", [True, False])
def test_calls_alike_run_on_the_threads_that_were_chosen(
    chain: Callable[..., Program], threads_restored: None, use_pool: bool
) -> None:
    set_num_threads(2)
    executable = Executable(chain(20))
    variables = (np.float32([1]),)
    executable.run([np.ones((2, 4), np.float32)], variables)
    (binding,) = executable._bindings.values()
    choice = binding.thread_choice
    for run in range(300):
        x = np.full((2, 4), run, np.float32)
        is_chosen = not choice.is_sampling and choice.runs_left > 1
        choice.use_pool = use_pool
        y, _ = executable.run([x], variables)
        np.testing.assert_array_equal(y, x + sum(range(20)))
        assert not is_chosen or (binding.pool is not None) is use_pool
    other = Executable(chain(3))
    other.run([np.ones((2, 4), np.float32)], variables)  # the pool is given back
