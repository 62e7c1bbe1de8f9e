"""Training beside forks, other threads, interrupts and exits. Each script runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

PRELUDE = """
import os, signal, sys, threading, time, warnings
import numpy as np
import graphcore as keras
from graphcore import layers
from runtime import phases, thread_choice, threads
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
phases._GRAIN_BYTES = 1  # small as the model is, its work is shared
thread_choice.ThreadChoice.begin = lambda self, runs=1: True
keras.config.set_num_threads(3)
X = np.random.default_rng(0).standard_normal((96, 20)).astype("float32")
Y = np.random.default_rng(1).standard_normal((96, 4)).astype("float32")

def make_model(width=24):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((20,))
    hidden = layers.Dense(width, "tanh")(inputs)
    model = keras.Model(inputs, layers.Dense(4)(hidden))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model

def steps(model, count):
    for _ in range(count):
        model.train_on_batch(X, Y)

def bits(model):
    return b"".join(weight.tobytes() for weight in model.get_weights())

def reference(count, width=24):
    keras.config.set_num_threads(1)
    model = make_model(width)
    steps(model, count)
    keras.config.set_num_threads(3)
    return bits(model)

def child_trains(model, count, right):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        steps(model, count)
        os._exit(42 if bits(model) == right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42, status
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@pytest.fixture
def script() -> Callable[[str], None]:
    """Run a script after PRELUDE; it must end by itself, with status 0, and print nothing."""

    def run(body: str) -> None:
        result = subprocess.run(
            [sys.executable, "-c", PRELUDE + body], capture_output=True, text=True, timeout=240, check=False
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")

    return run


@needs_fork
def test_parent_and_child_train_in_turns(script: Callable[[str], None]) -> None:
    script("""
right = [reference(count) for count in (5, 10, 15)]
model = make_model()
child_trains(model, 5, right[0])  # before the parent has trained
steps(model, 5)
assert bits(model) == right[0]
child_trains(model, 5, right[1])
steps(model, 5)
assert bits(model) == right[1]
child_trains(model, 5, right[2])
""")


@needs_fork
def test_a_child_trains_while_another_thread_of_the_parent_does(script: Callable[[str], None]) -> None:
    script("""
right = reference(4)
other, model = make_model(), make_model()
steps(model, 0)
stop = False
def until_stopped():
    while not stop:
        steps(other, 1)
worker = threading.Thread(target=until_stopped)
worker.start()
for _ in range(4):
    child_trains(model, 4, right)
stop = True
worker.join()
steps(model, 4)
assert bits(model) == right
""")


def test_two_models_in_two_threads(script: Callable[[str], None]) -> None:
    script("""
widths = 24, 40
right = [reference(60, width) for width in widths]
models = [make_model(width) for width in widths]
workers = [threading.Thread(target=steps, args=(model, 60)) for model in models]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert [bits(model) for model in models] == right
assert not threads._in_use.locked()
""")


def test_more_threads_than_cores_and_changes_between_steps(script: Callable[[str], None]) -> None:
    script("""
right = reference(24)
model = make_model()
for count in (2, 16, 1, 5, 3, 32, 2, 1):
    keras.config.set_num_threads(count)
    steps(model, 3)
assert bits(model) == right
""")


def test_interrupts_lose_no_step_and_hold_nothing(script: Callable[[str], None]) -> None:
    """Every interrupt falls between two native steps: as many have been made as the optimizer has counted."""
    script("""
model = make_model()
steps(model, 3)
caught = 0
stop = threading.Event()
inside = False
def raise_inside(*_):  # and not while an earlier one is being handled
    global inside
    if inside:
        inside = False
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, raise_inside)
def interrupt():
    random = np.random.default_rng(3)
    while not stop.wait(random.uniform(0.0005, 0.004)):
        os.kill(os.getpid(), signal.SIGINT)
worker = threading.Thread(target=interrupt)
end = time.monotonic() + 1.5
try:
    worker.start()
    while time.monotonic() < end:
        try:
            inside = True
            steps(model, 20)
            inside = False
        except KeyboardInterrupt:
            caught += 1
finally:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop.set()
    worker.join()
assert caught > 20, caught
steps(model, 1)
assert not threads._in_use.locked()
assert bits(model) == reference(int(model.optimizer.iterations.numpy()))
""")


@pytest.mark.parametrize(
    "ending",
    ["", "sys.exit()", "time.sleep(0.2)", "threading.Thread(target=steps, args=(model, 10**9), daemon=True).start()"],
    ids=["just after a step", "exit", "idle", "while a daemon thread trains"],
)
def test_the_process_ends(script: Callable[[str], None], ending: str) -> None:
    start = time.monotonic()
    script("model = make_model()\nsteps(model, 5)\n" + ending)
    assert time.monotonic() - start < 120


def test_idle_threads_use_no_processor_time(script: Callable[[str], None]) -> None:
    script("""
model = make_model()
steps(model, 5)
time.sleep(0.1)
before = time.process_time()
time.sleep(0.3)
assert time.process_time() - before < 0.03
""")
