"""A convolution net's training and prediction on the simulated device, against float64 and the CPU's numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler.codegen.cuda_driver import compile_graph_for_cuda
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Graph
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate

pytestmark = pytest.mark.cudasim

MakeGraph = Callable[[], Graph]
MakeState = Callable[[Graph], list[np.ndarray]]


def batch_of(size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.normal(size=(size, 8, 8, 1)).astype("float32"), rng.integers(0, 5, size)]


def assert_near(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal up to float32 roundings of values of this size."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=2e-5 * float(scale))


def test_a_training_step_agrees_with_the_interpreter_in_float64(
    make_train_graph: MakeGraph, make_state: MakeState
) -> None:
    graph = make_train_graph()
    inputs, state = batch_of(2), make_state(graph)
    wide = [a.astype("float64") if a.dtype == "float32" else a for a in (*inputs, *state)]
    oracle = differentiate(graph, PassContext())
    (loss,), exact = interpret(oracle, wide[: len(inputs)], wide[len(inputs) :])
    (simulated_loss,), updated = compile_graph_for_cuda(graph).run(inputs, state)
    np.testing.assert_allclose(simulated_loss, loss, rtol=1e-5)
    assert list(updated) == [entry.name for entry in graph.variables]
    for name, before in zip(updated, state, strict=True):
        assert name == "correct" or (updated[name] != before).any(), name
    for name, value in exact.items():
        np.testing.assert_allclose(updated[name], value, rtol=1e-3, atol=2e-5 * np.abs(value).max(), err_msg=name)


def test_one_compilation_predicts_for_every_batch_size(make_predict_graph: MakeGraph, make_state: MakeState) -> None:
    graph = make_predict_graph()
    state = make_state(graph)
    simulated, compiled = compile_graph_for_cuda(graph), compile_graph(graph)
    for size in (1, 3):
        x = batch_of(size)[:1]
        (actual,), _ = simulated.run(x, state)
        (expected,) = compiled.executable.run(x, [array.copy() for array in state])
        assert_near(actual, expected)
        np.testing.assert_allclose(actual.sum(1), 1.0, rtol=1e-5)
