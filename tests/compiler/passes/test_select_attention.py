"""`select_attention`: kernels where there are any, and a remark where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from compiler import functions as f
from compiler.interpret import interpret
from compiler.ir import Builder, Graph
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate, emit_gradient
from compiler.passes.select_attention import select_attention
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
    return differentiate(b.build(), PassContext())


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes if "attention" in node.op.name]


@pytest.mark.parametrize("extra", ["", "key_mask"])
def test_forward_and_gradient_share_two_numbers_a_query(extra: str) -> None:
    graph = graph_of(extra=extra)
    context = PassContext()
    changed = select_attention(graph, context)
    verify(changed)
    assert names(changed) == ["attention_kernel", "attention_gradient_kernel"]
    forward, backward = (node for node in changed.nodes if "attention" in node.op.name)
    assert forward.outputs[1] in backward.inputs
    assert select_attention(changed, context) is changed
    assert not context.remarks
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=SHAPE) for _ in range(4)]
    arrays += [np.array([[True, True, False, True, True], [False] * 5])] if extra else []
    for left, right in zip(interpret(graph, arrays)[0], interpret(changed, arrays)[0], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)


def test_a_gradient_without_the_forward_pass_finds_the_numbers_itself() -> None:
    b = Builder("backward")
    values = [b.input(name, TensorType(SHAPE)) for name in ("q", "k", "v", "result", "g")]
    from compiler.ops.attention import DotProductAttentionGradient

    for i, value in enumerate(b.emit_all(DotProductAttentionGradient(0.5), *values)):
        b.output(f"y{i}", value)
    changed = select_attention(b.build(), PassContext())
    assert names(changed) == ["attention_kernel", "attention_gradient_kernel"]


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
    assert len(context.remarks) == 2
    assert all(reason in remark.text for remark in context.remarks)
