"""Additive attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.attention import Attention


class AdditiveAttention(Attention):
    """Attention with the scores sum(scale · tanh(query + key)) over the features (Bahdanau et al., 2015).

    Args:
        use_scale: whether the features have trained factors.
        dropout: share of the attention weights dropped during training.
        kwargs: `seed` of the dropout, and see `Layer`.

    Called as `Attention`. Weights: scale (depth,) with `use_scale`.
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: Sequence[Sequence[int | None]]) -> None:
        """Create the weights for inputs of these shapes."""
        self._check(input_shape, None)
        if not self.use_scale:
            return
        depth = input_shape[0][-1]
        if depth is None:
            raise ValueError(
                f"AdditiveAttention needs to know the last axis of the query. Received: {tuple(input_shape[0])}"
            )
        self.scale = self.add_weight(name="scale", shape=(depth,), initializer="glorot_uniform")

    def _scores(self, query: Any, key: Any) -> Any:
        """Scores (batch, queries, keys)."""
        sums = ops.tanh(ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3)))
        return ops.sum(sums if self.scale is None else ops.multiply(sums, self.scale), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {name: value for name, value in super().get_config().items() if name != "score_mode"}
