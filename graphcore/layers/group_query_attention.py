"""Attention whose heads share keys and values."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.arguments import positive_integer
from graphcore.layers.attention_heads import AttentionHeads, Shape


class GroupQueryAttention(AttentionHeads):
    """Attention of several heads, groups of which share a key and a value (Ainslie et al., 2023).

    Args:
        head_dim: length of queries, keys and values of one head.
        num_query_heads: number of heads of the query, a multiple of `num_key_value_heads`.
        num_key_value_heads: number of heads of key and value.
        dropout: share of the attention weights dropped during training.
        use_bias: whether projections add a bias.
        sliding_window: position i sees position j only if |i - j| < sliding_window.
        flash_attention: accepted; attention whose scores are not asked for never keeps them anyway.
        kernel_initializer, bias_initializer: first values of the projections; `glorot_uniform` and `zeros`.
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: of the
            projections.
        use_gate: whether what the heads found is multiplied by sigmoid(a projection of the query).
        seed: of the dropout.
        kwargs: see `Layer`.

    Call: `layer(query, value, key=None, ...)`, see `AttentionHeads.call`, on tensors (batch, positions, features).
    Output: (batch, queries, features of the query).

    Weights: kernels (features, heads, head_dim) and biases (heads, head_dim) of query, key and value,
    (num_query_heads, head_dim, features) and (features,) of the output.

    Raises:
        ValueError: arguments out of range, or that exclude each other.
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        self.head_dim = positive_integer(head_dim, "head_dim", "GroupQueryAttention")
        self.num_query_heads = positive_integer(num_query_heads, "num_query_heads", "GroupQueryAttention")
        self.num_key_value_heads = positive_integer(num_key_value_heads, "num_key_value_heads", "GroupQueryAttention")
        if self.num_query_heads % self.num_key_value_heads:
            raise ValueError(
                "`num_query_heads` must be divisible by `num_key_value_heads`. Received: "
                f"num_query_heads={num_query_heads}, num_key_value_heads={num_key_value_heads}"
            )
        super().__init__(
            self.head_dim, self.num_query_heads, dropout, use_bias, sliding_window, flash_attention, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint, use_gate, seed, **kwargs,
        )  # fmt: skip

    @property
    def kind(self) -> str:
        """The class name in Keras, from which it makes the names of layers."""
        return "GroupedQueryAttention"

    def build(  # type: ignore[override]
        self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None
    ) -> None:
        """Create the weights for a query, a value and a key of these shapes; the key's is by default the value's."""
        if len(query_shape) != 3:
            raise ValueError(
                "GroupQueryAttention expects tensors of shape (batch, positions, features). Received: "
                f"query_shape={tuple(query_shape)}"
            )
        self._build_projections(
            (query_shape, value_shape if key_shape is None else key_shape, value_shape),
            (self.num_query_heads, self.num_key_value_heads),
            (self.head_dim, self.head_dim),
            (query_shape[-1],),
        )

    def _scores(self, query: Any, key: Any) -> Any:
        return ops.einsum("bqnh,bknh->bnqk", query, self._repeated(key))

    def _combined(self, weights: Any, value: Any) -> Any:
        return ops.einsum("bnqk,bknh->bqnh", weights, self._repeated(value))

    def _repeated(self, tensor: Any) -> Any:
        """Keys or values of one head for each head of the query."""
        return ops.repeat(tensor, self.num_query_heads // self.num_key_value_heads, axis=2)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "head_dim": self.head_dim,
            "num_query_heads": self.num_query_heads,
            "num_key_value_heads": self.num_key_value_heads,
        }
