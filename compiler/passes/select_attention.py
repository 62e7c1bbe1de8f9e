"""Take a kernel that never holds all scores for attention, where the CPU has it.

    %4 = dot_product_attention(%q, %k, %v)          ->       %4, %5 = attention_kernel(%q, %k, %v)

Differentiation, which comes next, makes of it a kernel for the gradient, and that reads the two numbers of each query
that are the second result. A loop saves them for its derivative as it does any other value.

The kernels know masks that are rules, causal, a window, a mask of keys, and dropout. With a mask or a bias for each
pair of a query and a key, in float64 or for another target, the op stays and `decompose` writes it as primitives; a
remark says why.

In the pipeline there is no gradient of attention yet. There is in a graph that was dumped after `differentiate`, where
the op stayed for such a reason or the target was another, and that `graphcore opt` is given: its gradient has no kernel
without the two numbers, so it stays, and a remark says that as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Builder, Graph, Node, Value
from compiler.ops.attention import AttentionRule, DotProductAttention
from compiler.ops.attention_kernels import AttentionKernel
from compiler.passes.context import PassContext
from compiler.rewrite import rewrite

DIFFERENTIATED = (
    "differentiated before there was a kernel: all scores are held in memory; "
    "give the passes the graph from before 'differentiate'"
)


def select_attention(graph: Graph, context: PassContext) -> Graph:
    """See the module's text."""
    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.op
        if not isinstance(op, AttentionRule):
            return None
        reason = _refusal(op, inputs, context)
        if reason is None and isinstance(op, DotProductAttention):
            return b.emit_all(AttentionKernel(*op.fields.values()), *inputs)[:1]
        subject = f"{op.name} ({node.layer})" if node.layer else op.name
        context.remark("select_attention", subject, reason or DIFFERENTIATED)
        return None

    return rewrite(graph, rule)


def _refusal(op: AttentionRule, inputs: Sequence[Value], context: PassContext) -> str | None:
    """Why there is no kernel for what an op computes."""
    if context.target.kind != "cpu":
        return f"target '{context.target.kind}' has no kernel for attention: all scores are held in memory"
    query, value = inputs[0].type, inputs[2].type
    if query.dtype != "float32":
        return f"the kernels compute in float32, not {query.dtype}: all scores are held in memory"
    if others := [name for name in op.extras if name in ("mask", "bias")]:
        return f"a {' and a '.join(others)} for each pair of a query and a key: all scores are held in memory"
    if op.dropout == 1:
        return "all weights are dropped"
    if not isinstance(query.shape[3], int) or not isinstance(value.shape[3], int):
        return "the depth is known at run time only: all scores are held in memory"
    return None
