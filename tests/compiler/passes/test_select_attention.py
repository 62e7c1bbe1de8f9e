"""`select_attention`: kernels where there are any, and a remark where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Builder, Graph, Node
from compiler.ops.attention import DotProductAttentionGradient
from compiler.ops.fused import FusedGroup
from compiler.ops.scan import Scan
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from compiler.passes.select_attention import select_attention
from compiler.pipeline import run_pipeline
from compiler.target import CUDA_TARGET
from compiler.types import TensorType
from compiler.verify import verify

SHAPE = (2, 5, 3, 4)


def graph_of(dtype: str = "float32", *, gradient: bool = True, extra: str = "") -> Graph:
    b = Builder("attention")
    query, key, value, weight = (b.input(name, TensorType(SHAPE, dtype)) for name in ("q", "k", "v", "w"))
    extras = {}
    if extra == "key_mask":
        extras = {extra: b.input(extra, TensorType((2, 5), "bool"))}
    elif extra:
        extras = {extra: b.input(extra, TensorType((2, 1, 5, 5), "bool" if extra == "mask" else dtype))}
    result = f.dot_product_attention(b, query, key, value, causal=True, **extras)
    b.output("result", result)
    if gradient:
        loss = f.reduce_sum(b, f.multiply(b, result, weight))
        for name, cotangent in zip(("q", "k", "v"), emit_gradient(b, loss, [query, key, value]), strict=True):
            b.output(f"of_{name}", cotangent)
    return b.build()


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes if "attention" in node.op.name]


@pytest.mark.parametrize("extra", ["", "key_mask"])
def test_forward_and_gradient_share_two_numbers_a_query(extra: str) -> None:
    graph = graph_of(extra=extra)
    context = PassContext()
    selected = select_attention(graph, context)
    assert select_attention(selected, context) is selected
    assert not context.remarks
    changed = differentiate(selected, PassContext())
    verify(changed)
    assert names(changed) == ["attention_kernel", "attention_gradient_kernel"]
    forward, backward = (node for node in changed.nodes if "attention" in node.op.name)
    assert forward.outputs[1] in backward.inputs
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=SHAPE) for _ in range(4)]
    arrays += [np.array([[True, True, False, True, True], [False] * 5])] if extra else []
    judge = differentiate(graph, PassContext())
    for left, right in zip(interpret(judge, arrays)[0], interpret(changed, arrays)[0], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize("extra", ["", "key_mask"])
def test_a_gradient_of_a_gradient_is_that_of_the_op_with_all_scores(extra: str) -> None:
    b = Builder("twice")
    query, key, value = (b.input(name, TensorType(SHAPE)) for name in "qkv")
    mask = b.input("key_mask", TensorType((2, 5), "bool")) if extra else None
    result = f.dot_product_attention(b, query, key, value, causal=True, key_mask=mask)
    first = emit_gradient(b, f.reduce_sum(b, f.multiply(b, result, result)), [query, key])
    loss = f.add(b, *(f.reduce_sum(b, f.multiply(b, x, x)) for x in first))
    for name, cotangent in zip("qkv", emit_gradient(b, loss, [query, key, value]), strict=True):
        b.output(name, cotangent)
    graph = b.build()
    changed = differentiate(select_attention(graph, PassContext()), PassContext())
    assert "attention_gradient_kernel" in names(changed)
    rng = np.random.default_rng(1)
    arrays = [0.5 * rng.normal(size=SHAPE) for _ in range(3)]
    arrays += [np.array([[True, True, False, True, True], [True] * 5])] if extra else []
    judge = differentiate(graph, PassContext())
    for left, right in zip(interpret(judge, arrays)[0], interpret(changed, arrays)[0], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)


def recurrent(steps: int = 3) -> Graph:
    """h' = attention of h to a memory, times an entry; and the gradients of a sum of its squares."""
    body = Builder("cell")
    h, entry, memory = (body.input(name, TensorType(SHAPE)) for name in ("h", "x", "memory"))
    body.output("h", f.multiply(body, f.dot_product_attention(body, h, memory, memory), entry))
    b = Builder("net")
    start, memory = (b.input(name, TensorType(SHAPE)) for name in ("start", "memory"))
    entries = b.input("x", TensorType((steps, *SHAPE)))
    found = f.scan(b, body.build(), [start], [entries], [memory])
    loss = f.reduce_sum(b, f.multiply(b, found.after[0], found.after[0]))
    for name, cotangent in zip(("start", "memory", "x"), emit_gradient(b, loss, [start, memory, entries]), strict=True):
        b.output(name, cotangent)
    return b.build()


def test_a_loop_saves_the_numbers_for_its_derivative() -> None:
    graph = recurrent()
    context = PassContext()
    bodies = [node.op.body for node in run_pipeline(graph, context).nodes if isinstance(node.op, Scan)]
    kernels = [[inner.op.name for node in body.nodes for inner in bodies_of(node)] for body in bodies]
    found = [[name for name in ops if "attention" in name] for ops in kernels]
    assert found == [["attention_kernel"], ["attention_gradient_kernel"]], "not computed again"
    assert not [remark for remark in context.remarks if "attention" in remark.text]
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=entry.value.type.shape).astype("float32") for entry in graph.inputs]
    wanted, _ = interpret(differentiate(graph, PassContext()), [array.astype("float64") for array in arrays])
    for got, exact in zip(compile_graph(graph).executable.run(arrays, []), wanted, strict=True):
        np.testing.assert_allclose(got, exact, rtol=2e-4, atol=2e-5 * np.abs(exact).max())


def bodies_of(node: Node) -> tuple[Node, ...]:
    return node.op.body.nodes if isinstance(node.op, FusedGroup) else ()


@pytest.mark.parametrize(
    ("dtype", "context", "reason"),
    [
        ("float32", PassContext(), "differentiated before there was a kernel"),
        ("float64", PassContext(), "float64"),
        ("float32", PassContext(CUDA_TARGET), "target 'cuda'"),
    ],
)
def test_a_gradient_without_the_kernel_of_the_forward_pass_stays_and_says_so(
    dtype: str, context: PassContext, reason: str
) -> None:
    b = Builder("backward")
    values = [b.input(name, TensorType(SHAPE, dtype)) for name in ("q", "k", "v", "result", "g")]
    for i, value in enumerate(b.emit_all(DotProductAttentionGradient(0.5), *values)):
        b.output(f"y{i}", value)
    graph = b.build()
    assert select_attention(graph, context) is graph
    (remark,) = context.remarks
    assert reason in remark.text


def test_every_op_of_a_graph_that_was_dumped_for_another_target_has_a_kernel_or_a_remark() -> None:
    dumped = differentiate(select_attention(graph_of(), PassContext(CUDA_TARGET)), PassContext())
    context = PassContext()
    selected = select_attention(dumped, context)
    assert names(selected) == ["attention_kernel", "dot_product_attention_gradient"]
    (remark,) = context.remarks
    assert remark.subject == "dot_product_attention_gradient"
    assert "give the passes the graph from before 'differentiate'" in remark.text


@pytest.mark.parametrize(
    ("dtype", "extra", "context", "reason"),
    [
        ("float64", "", PassContext(), "float64"),
        ("float32", "mask", PassContext(), "a mask for each pair"),
        ("float32", "bias", PassContext(), "a bias for each pair"),
        ("float32", "", PassContext(CUDA_TARGET), "target 'cuda'"),
    ],
)
def test_a_remark_says_why_all_scores_are_held(dtype: str, extra: str, context: PassContext, reason: str) -> None:
    graph = graph_of(dtype, extra=extra)
    assert select_attention(graph, context) is graph
    (remark,) = context.remarks
    assert reason in remark.text
