"""`StepProgram.measure`, and what `graphcore demo` makes of it."""

from __future__ import annotations

import numpy as np
import pytest

import graphcore as keras
from graphcore import demo, layers
from graphcore.training.data.arrays import Batch
from runtime import Profile, set_num_threads

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 5)).astype(np.float32)
Y = RNG.normal(size=(64, 3)).astype(np.float32)


def compiled() -> keras.Model:
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8, activation="relu"), layers.Dense(3)])
    model.compile(optimizer="adam", loss="mse")
    return model


def test_a_measured_step_has_chosen_its_threads(threads_restored: None) -> None:
    set_num_threads(2)
    model = compiled()
    before = model.get_weights()
    profile = model.lower("train").step.measure(Batch(X, Y), runs=5)
    assert profile.runs == 5
    assert len(set(profile.team_sizes().tolist())) == 1
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_kernels_of_the_demo_add_up_over_runs_on_one_thread_and_on_two(threads_restored: None) -> None:
    step = compiled().lower("train").step
    profile = Profile()
    for threads in (2, 1):
        set_num_threads(threads)
        step.compiled.executable.run([X, Y], [np.array(each) for each in step.variables], profile)
    assert profile.team_sizes().tolist() == [2, 1]
    milliseconds = sum(time.milliseconds for time in demo.kernel_times(profile))
    assert milliseconds == pytest.approx((profile.times().sum(1) @ [1 / 2, 1]) / 1e6)
