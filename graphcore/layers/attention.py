"""Attention without projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops, random
from graphcore.layers.arguments import rate_argument, seed_config, seed_generator
from graphcore.layers.layer import Layer
from graphcore.ops.attention import rule_attention


class Attention(Layer):
    """softmax(scores) value, the scores being products of query and key (Luong et al., 2015), or of their sum.

    Args:
        use_scale: whether the scores have a trained factor.
        score_mode: "dot": scores are products of query and key; "concat": the sum over the features of
            tanh(scale · (query + key)), times a trained weight.
        dropout: share of the attention weights dropped during training.
        seed: of the dropout.
        kwargs: see `Layer`.

    Call: `layer([query, value], mask=[query mask, value mask])` or with a key as third tensor; by default it is the
    value. `use_causal_mask`: position i sees position j only if j <= i. `return_attention_scores`: the weights are
    returned too. Masks are bool, (batch, queries) and (batch, keys): values whose mask is False are not seen, results
    of queries whose mask is False are 0. A query that sees no key gets the mean of the values.

    Input: (batch, queries, depth), (batch, keys, features), (batch, keys, depth). Output: (batch, queries, features)
    and (batch, queries, keys). Weights, each a number: scale with `use_scale`, concat_score_weight with "concat".

    Raises:
        ValueError: an unknown `score_mode`; inputs that are no list of two or three tensors.
    """

    supports_masking = True

    def __init__(
        self, use_scale: bool = False, score_mode: str = "dot", dropout: float = 0.0, seed: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError(
                f"Invalid value for argument `score_mode`. Expected one of ('dot', 'concat'). Received: {score_mode!r}"
            )
        self.use_scale = use_scale
        self.score_mode = score_mode
        self.dropout = rate_argument(dropout, "dropout", type(self).__name__)
        self.seed = seed
        if self.dropout > 0:
            self.seed_generator = seed_generator(seed)
        self.scale: Any = None
        self.concat_score_weight: Any = None

    def build(self, input_shape: Sequence[Sequence[int | None]]) -> None:
        """Create the weights for inputs of these shapes."""
        self._check(input_shape, None)
        if self.use_scale:
            self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(name="concat_score_weight", shape=(), initializer="ones")

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: Any = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Compute the output, and the attention weights if they are asked for."""
        self._check(inputs, mask)
        query, value = inputs[0], inputs[1]
        key = inputs[2] if len(inputs) > 2 else value
        query_mask, value_mask = (mask[0], mask[1]) if mask else (None, None)
        drops = bool(training) and self.dropout > 0
        plain = self.score_mode == "dot" and type(self)._scores is Attention._scores
        weights = None
        if plain and not drops and not return_attention_scores:
            outputs = self._without_scores(query, key, value, value_mask, use_causal_mask)
        else:
            scores = self._scores(query, key)
            weights = self._weights(scores, value_mask, use_causal_mask)
            if drops:
                weights = random.dropout(weights, self.dropout, seed=self.seed_generator)
            outputs = ops.matmul(weights, value)
        if query_mask is not None:
            outputs = ops.where(ops.expand_dims(query_mask, -1), outputs, 0)
        return (outputs, weights) if return_attention_scores else outputs

    def _without_scores(self, query: Any, key: Any, value: Any, value_mask: Any, causal: bool) -> Any:
        """One head; no tensor of all scores is made."""
        if self.scale is not None:
            query = ops.multiply(query, self.scale)
        query, key, value = (ops.expand_dims(tensor, 2) for tensor in (query, key, value))
        return ops.squeeze(rule_attention(query, key, value, key_mask=value_mask, scale=1.0, causal=bool(causal)), 2)

    def _scores(self, query: Any, key: Any) -> Any:
        """Scores (batch, queries, keys)."""
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.swapaxes(key, -2, -1))
            return scores if self.scale is None else ops.multiply(scores, self.scale)
        sums = ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3))
        if self.scale is not None:
            sums = ops.multiply(sums, self.scale)
        return ops.multiply(ops.sum(ops.tanh(sums), axis=-1), self.concat_score_weight)

    def _weights(self, scores: Any, value_mask: Any, causal: bool) -> Any:
        """The softmax of the scores of keys that are seen."""
        seen = None if value_mask is None else ops.expand_dims(value_mask, -2)
        if causal:
            queries, keys = ops.shape(scores)[-2:]
            rows = ops.expand_dims(ops.arange(queries, dtype="int32"), 1)
            earlier = ops.expand_dims(ops.greater_equal(rows, ops.arange(keys, dtype="int32")), 0)
            seen = earlier if seen is None else ops.logical_and(seen, earlier)
        if seen is not None:
            far = 65504.0 if scores.dtype == "float16" else 1e9
            scores = ops.where(seen, scores, ops.subtract(scores, far))
        return ops.softmax(scores, axis=-1)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """That of the query."""
        return previous_mask[0] if previous_mask else None

    def _check(self, inputs: Any, mask: Any) -> None:
        name = type(self).__name__
        if not isinstance(inputs, list) or len(inputs) not in (2, 3):
            raise ValueError(
                f"{name} layer must be called on a list of inputs, namely [query, value] or [query, value, key]. "
                f"Received: {inputs}"
            )
        if mask is not None and (not isinstance(mask, list) or len(mask) not in (2, 3)):
            raise ValueError(f"{name} layer mask must be a list, namely [query_mask, value_mask]. Received: {mask}")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "use_scale": self.use_scale,
            "score_mode": self.score_mode,
            "dropout": self.dropout,
            "seed": seed_config(self.seed),
        }
