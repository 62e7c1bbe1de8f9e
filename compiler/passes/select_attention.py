"""Take kernels that never hold all scores for attention, and for its gradient, where the CPU has them.

    %4 = dot_product_attention(%q, %k, %v)                   %4, %5 = attention_kernel(%q, %k, %v)
    %6, %7, %8 = dot_product_attention_gradient(       ->    %6, %7, %8 = attention_gradient_kernel(
        %q, %k, %v, %4, %g)                                      %q, %k, %v, %4, %g, %5)

The kernels know masks that are rules, causal, a window, a mask of keys, and dropout. With a mask or a bias for each
pair of a query and a key, in float64 or for another target, the ops stay and `decompose` writes them as primitives; a
remark says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Builder, Graph, Node, Value
from compiler.ops.attention import AttentionRule, DotProductAttention, DotProductAttentionGradient
from compiler.ops.attention_kernels import AttentionGradientKernel, AttentionKernel
from compiler.passes.context import PassContext
from compiler.rewrite import rewrite


def select_attention(graph: Graph, context: PassContext) -> Graph:
    """See the module's text."""
    numbers: dict[Value, Value] = {}  # of each result that a kernel gives, what its gradient needs

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.op
        if not isinstance(op, AttentionRule):
            return None
        if reason := _refusal(op, inputs, context):
            context.remark("select_attention", f"{op.name} ({node.layer})" if node.layer else op.name, reason)
            return None
        if isinstance(op, DotProductAttention):
            result, own = b.emit_all(AttentionKernel(*op.fields.values()), *inputs)
            numbers[result] = own
            return (result,)
        assert isinstance(op, DotProductAttentionGradient)
        first, extras = inputs[:5], inputs[5:]
        own = numbers.get(inputs[3]) or b.emit_all(AttentionKernel(*op.fields.values()), *first[:3], *extras)[1]
        return b.emit_all(AttentionGradientKernel(*op.fields.values()), *first, own, *extras)

    return rewrite(graph, rule)


def _refusal(op: AttentionRule, inputs: Sequence[Value], context: PassContext) -> str | None:
    """Why there is no kernel."""
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
