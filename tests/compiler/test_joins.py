"""Concatenations that are stored part by part, and sums of padded parts that become such."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Builder, Value
from compiler.joins import joins_of
from compiler.ops.fused import Fused
from compiler.ops.random import STATE, Dropout
from compiler.passes.canonicalize import canonicalize
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from compiler.pipeline import run_pipeline
from compiler.text import parse
from compiler.types import TensorType
from runtime.dimensions import symbol

GATES = """
graph g {
  input %a "a": f32[n,6]
  input %b "b": f32[n,6]
  %t: f32[n,6] = tanh(%a)
  %p: f32[n,6] = multiply(%t, %b)
  %q: f32[n,6] = add(%t, %b)
  %c: f32[n,18] = concatenate(%p, %q, %t) {axis=1}
  return "joined"=%c
  return "product"=%p
}
"""

PADS = """
graph g {
  input %a "a": f32[n,2]
  input %b "b": f32[n,5]
  input %c "c": f32[n,1]
  %p: f32[n,8] = pad(%a) {low=(0, 5), high=(0, 1), value=0}
  %q: f32[n,8] = pad(%b) {low=(0, 0), high=(0, 3), value=0}
  %r: f32[n,8] = pad(%c) {low=(0, 7), high=(0, 0), value=0}
  %s: f32[n,8] = add(%p, %q)
  %t: f32[n,8] = add(%s, %r)
  return "y"=%t
}
"""


def kernels(graph):
    return [node for node in graph.nodes if isinstance(node.op, Fused)]


def test_parts_and_what_they_share_are_one_kernel():
    assert len(kernels(run_pipeline(parse(GATES)))) == 1


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_parts_are_stored_where_they_belong(rows):
    graph = parse(GATES)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(rows, 6)).astype("float32") for _ in range(2)]
    expected, _ = interpret(graph, inputs)
    for got, wanted in zip(compile_graph(graph).executable.run(inputs, ()), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        ('return "joined"=%c', '%e: f32[n,18] = exp(%c)\n  return "e"=%e\n  return "joined"=%c'),
        ("concatenate(%p, %q, %t) {axis=1}", "concatenate(%p, %a, %t) {axis=1}"),
    ],
    ids=["read again", "a part from outside"],
)
def test_other_joins_are_right_too(change):
    graph = parse(GATES.replace(*change))
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(5, 6)).astype("float32") for _ in range(2)]
    expected, _ = interpret(graph, inputs)
    for got, wanted in zip(compile_graph(graph).executable.run(inputs, ()), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


def vectors(b: Builder) -> Value:
    x = b.input("x", TensorType((64,)))
    return f.concatenate(b, [f.tanh(b, x), f.multiply(b, x, x)], 0)


def beside_random_numbers(b: Builder) -> Value:
    x, state = b.input("x", TensorType((symbol("n"), 64))), b.input("state", STATE)
    return f.concatenate(b, [x, b.emit(Dropout(0.3), x, state)], 1)


def beside_a_pooling_gradient(b: Builder) -> Value:
    x = b.input("x", TensorType((symbol("n"), 6, 6, 8)))
    y = f.max_pool(b, x, 2)
    (slope,) = emit_gradient(b, f.reduce_sum(b, f.multiply(b, y, y)), [x])
    return f.concatenate(b, [slope, f.tanh(b, slope)], 3)


@pytest.mark.parametrize("build", [vectors, beside_random_numbers, beside_a_pooling_gradient])
def test_every_loop_of_maps_stores_parts(build: Callable[[Builder], Value]) -> None:
    b = Builder("g")
    b.output("y", build(b))
    graph = differentiate(b.build(), PassContext())
    assert any(len(kernel.op.body.nodes) > 1 and joins_of(kernel.op.body.nodes, kernel.op.body.results)
               for kernel in kernels(run_pipeline(graph)))  # fmt: skip
    rng = np.random.default_rng(2)
    x = graph.inputs[0].value.type
    inputs = [rng.normal(size=[n if isinstance(n, int) else 3 for n in x.shape]).astype("float32")]
    inputs += [np.array([5, 9], "uint32")] * (len(graph.inputs) - 1)
    (expected,), _ = interpret(graph, inputs)
    (got,) = compile_graph(graph).executable.run(inputs, ())
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_padded_parts_that_lie_side_by_side_are_joined(check, operations):
    result = check(canonicalize, PADS)
    assert operations(result)[-1] == "concatenate"
    assert operations(run_pipeline(parse(PADS)))[-1] == "fused"


@pytest.mark.parametrize(
    "change",
    [
        ("low=(0, 7), high=(0, 0)", "low=(0, 6), high=(0, 1)"),
        ("low=(0, 7), high=(0, 0), value=0", "low=(0, 7), high=(0, 0), value=1"),
        ("add(%s, %r)", "add(%s, %s)"),
    ],
    ids=["overlap", "other padding", "a part twice"],
)
def test_other_sums_stay(change, operations):
    graph = parse(PADS.replace(*change))
    assert "concatenate" not in operations(canonicalize(graph, PassContext()))
