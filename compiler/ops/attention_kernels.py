"""Attention as one kernel, which never holds all scores; and its gradient, which computes them anew.

The pass `select_attention` puts the first in the place of the op of `compiler.ops.attention`, and its gradient is the
second. They are lowered by generators of the CPU only (`compiler.codegen.attention`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.ir import Array, Builder, Value
from compiler.ops.attention import DotProductAttention, DotProductAttentionGradient
from compiler.ops.checks import require_inputs
from compiler.ops.families import Cotangents, GeneratedKernel, received
from compiler.ops.registry import op
from compiler.types import TensorType
from runtime.dimensions import Dim


@op
class AttentionKernel(GeneratedKernel):
    """(query, key, value[, key mask][, state]) -> result, and for each head and query two numbers.

    These, [2, batch, heads, queries], are the greatest of the masked scores and the reciprocal of the sum of
    exp(score - greatest): what the gradient needs to know the weights again.
    """

    scale: float
    causal: bool
    window: int | None
    extras: tuple[str, ...]
    dropout: float

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """float32 throughout, and weights of which some are kept."""
        (result,) = self._whole.infer(*inputs)
        _refuse_others(self.name, inputs, self.extras, self.dropout)
        batch, queries, heads, _ = inputs[0].shape
        return (result, result.with_shape(2, batch, heads, queries))

    @property
    def _whole(self) -> DotProductAttention:
        return DotProductAttention(*self.fields.values())

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The other kernel, which reads the two numbers; they have no cotangent."""
        of_inputs = AttentionGradientKernel(*self.fields.values())
        result, numbers = outputs
        results = b.emit_all(of_inputs, *inputs[:3], result, received(cotangents[:1]), numbers, *inputs[3:])
        return (*results, *[None] * len(self.extras))

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Two products for each pair of a query and a key that it sees by the rules."""
        query, _, value = inputs[:3]
        return visible_pairs(self.causal, inputs) * (query.shape[3] + value.shape[3])

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """From the reference of the op that holds all scores."""
        scores, _ = self._whole.scores_reference(inputs[0], inputs[1], inputs[3:])
        greatest = scores.max(-1)
        total = np.exp(scores - greatest[..., None]).sum(-1)
        return (*self._whole.reference(*inputs), np.stack([greatest, 1 / total]))


@op
class AttentionGradientKernel(GeneratedKernel):
    """(query, key, value, result, its cotangent, the two numbers[, key mask][, state]) -> three cotangents."""

    scale: float
    causal: bool
    window: int | None
    extras: tuple[str, ...]
    dropout: float

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Those of query, key and value."""
        require_inputs(self.name, inputs, 6 + len(self.extras))
        _refuse_others(self.name, inputs, self.extras, self.dropout)
        batch, queries, heads, _ = inputs[0].shape
        if inputs[5].shape != (2, batch, heads, queries):
            raise ValueError(f"{self.name}: two numbers for each head and query. Received: {inputs[5]}")
        return self._whole.infer(*inputs[:5], *inputs[6:])

    @property
    def _whole(self) -> DotProductAttentionGradient:
        return DotProductAttentionGradient(*self.fields.values())

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """That of the op that holds all scores: it computes the two numbers from query and key."""
        given = (*inputs[:5], *inputs[6:])
        parts = self._whole.gradient(b, cotangents, given, outputs)
        return (*parts[:5], None, *parts[5:])

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Four products for each pair; that the scores are computed anew does not count."""
        query, _, value = inputs[:3]
        return visible_pairs(self.causal, inputs) * (query.shape[3] + value.shape[3]) * 2

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """From the reference of the op that holds all scores."""
        return self._whole.reference(*inputs[:5], *inputs[6:])


def visible_pairs(causal: bool, inputs: Sequence[TensorType]) -> Dim:
    """Pairs of a query and a key in all heads; with as many keys as queries only those that `causal` leaves."""
    batch, queries, heads, _ = inputs[0].shape
    keys = inputs[1].shape[1]
    if causal and keys == queries:
        return batch * heads * (queries * (queries + 1) // 2)
    return batch * heads * (queries * keys)


def _refuse_others(name: str, inputs: Sequence[TensorType], extras: Sequence[str], dropout: float) -> None:
    if inputs[0].dtype != "float32" or not set(extras) <= {"key_mask", "state"}:
        raise TypeError(f"{name}: takes float32, a key mask and a state. Received: {inputs[0]}, {extras}")
    if dropout == 1:
        raise ValueError(
            f"{name}: multiplies the weights that are kept by 1 / (1 - dropout), so dropout must be below 1; "
            f"dot_product_attention takes 1. Received: dropout={dropout}"
        )


__all__ = ["AttentionGradientKernel", "AttentionKernel", "visible_pairs"]
