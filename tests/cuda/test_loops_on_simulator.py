"""Recurrences on the CUDA simulator: loops over kernels, in both directions, with and without a limit."""

from __future__ import annotations

import numpy as np
import pytest

from compiler import functions as f
from compiler.interpret import interpret
from compiler.ir import Builder, Graph
from compiler.ops.fused import FusedSteps
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from compiler.pipeline import run_pipeline
from compiler.types import TensorType
from runtime.dimensions import symbol

pytestmark = pytest.mark.cudasim

STEPS = symbol("steps")


def recurrence(reverse: bool) -> Graph:
    """h' = tanh(h u + x), the last state's sum of squares and its gradients."""
    cell = Builder("cell")
    h, x = (cell.input(name, TensorType((2, 3))) for name in "hx")
    u = cell.input("u", TensorType((3, 3)))
    cell.output("h", f.tanh(cell, f.add(cell, f.matmul(cell, h, u), x)))
    b = Builder("recurrence")
    sequence = b.input("x", TensorType((STEPS, 2, 3)))
    limit = b.input("limit", TensorType((), "int32"))
    weights = b.variable("u", TensorType((3, 3)))
    start = f.full(b, (2, 3), 0.5)
    found = f.scan(b, cell.build(), [start], [sequence], [weights], reverse=reverse, limit=limit)
    loss = f.reduce_sum(b, f.multiply(b, found.final[0], found.final[0]))
    b.output("states", f.multiply(b, found.after[0], 2.0))
    for name, value in zip(("dx", "du"), emit_gradient(b, loss, (sequence, weights)), strict=True):
        b.output(name, value)
    return b.build()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("steps", "limit"), [(4, 4), (3, 1), (2, 0), (3, 9)])
def test_loops_agree_with_the_interpreter(reverse: bool, steps: int, limit: int) -> None:
    from compiler.codegen.cuda_driver import compile_graph_for_cuda

    graph = recurrence(reverse)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(steps, 2, 3)).astype("float32"), np.array(limit, np.int32)]
    weights = rng.normal(size=(3, 3)).astype("float32")
    outputs, _ = compile_graph_for_cuda(graph).run(inputs, [weights])
    wide = [inputs[0].astype("float64"), inputs[1]]
    expected, _ = interpret(differentiate(graph, PassContext()), wide, [weights.astype("float64")])
    for value, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


def test_kernels_that_the_cpu_limits_are_refused_by_name() -> None:
    from compiler.codegen.cuda_driver import compile_graph_for_cuda

    limited = run_pipeline(recurrence(reverse=False), PassContext())
    assert any(isinstance(node.op, FusedSteps) for node in limited.nodes)
    with pytest.raises(TypeError, match=r"'fused_steps' .* before the pass 'limit_kernels'"):
        compile_graph_for_cuda(limited)
