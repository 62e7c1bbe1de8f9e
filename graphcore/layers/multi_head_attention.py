"""Attention with several heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.arguments import positive_integer
from graphcore.layers.attention_heads import AttentionHeads, Shape, letters_of


class MultiHeadAttention(AttentionHeads):
    """Attention of several heads at once (Vaswani et al., 2017).

    Args:
        num_heads: number of heads.
        key_dim: length of queries and keys of one head.
        value_dim: length of values of one head; None: as `key_dim`.
        dropout: share of the attention weights dropped during training.
        use_bias: whether projections add a bias.
        output_shape: extents of the result in the place of the query's last; None: as the query's.
        attention_axes: axes of the query that attention runs over; None: all but the first and the last.
        sliding_window: position i sees position j only if |i - j| < sliding_window.
        flash_attention: accepted; attention whose scores are not asked for never keeps them anyway.
        kernel_initializer, bias_initializer: first values of the projections; `glorot_uniform` and `zeros`.
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: of the
            projections.
        use_gate: whether what the heads found is multiplied by sigmoid(a projection of the query).
        seed: of the dropout.
        kwargs: see `Layer`.

    Call: `layer(query, value, key=None, ...)`, see `AttentionHeads.call`. With one axis of attention the scores are
    never kept, with dropout neither, unless `return_attention_scores` asks for them. The exception is dropout together
    with an `attention_mask`, which is as large as they are, or with a window and masked keys.

    Weights: kernels (features, num_heads, key_dim) and biases (num_heads, key_dim) of query and key, the same with
    `value_dim` for the gate and the value, (num_heads, value_dim, *output_shape) and (*output_shape,) of the output.

    Raises:
        ValueError: arguments out of range, or that exclude each other.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
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
        self.num_heads = positive_integer(num_heads, "num_heads", "MultiHeadAttention")
        self.key_dim = positive_integer(key_dim, "key_dim", "MultiHeadAttention")
        self.value_dim = self.key_dim
        if value_dim is not None:
            self.value_dim = positive_integer(value_dim, "value_dim", "MultiHeadAttention")
        super().__init__(
            self.key_dim, self.num_heads, dropout, use_bias, sliding_window, flash_attention, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint, use_gate, seed, **kwargs,
        )  # fmt: skip
        self._output_shape = _integers(output_shape, "output_shape") if output_shape else None
        self.attention_axes = None if attention_axes is None else _integers(attention_axes, "attention_axes")

    def build(  # type: ignore[override]
        self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None
    ) -> None:
        """Create the weights for a query, a value and a key of these shapes; the key's is by default the value's."""
        key_shape = value_shape if key_shape is None else key_shape
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError(
                "All dimensions of `value` and `key`, except the last one, must be equal. Received: "
                f"value_shape={tuple(value_shape)} and key_shape={tuple(key_shape)}"
            )
        rank = len(value_shape)
        axes = self.attention_axes or tuple(range(1, rank - 1))
        self.attention_axes = tuple(axis if axis >= 0 else rank + axis for axis in axes)
        if not all(0 < axis < rank - 1 for axis in self.attention_axes):
            raise ValueError(
                f"`attention_axes` must lie between the batch axis and the last one. Received: attention_axes={axes} "
                f"for value_shape={tuple(value_shape)}"
            )
        self.attention_rank = len(self.attention_axes)
        self._build_projections(
            (query_shape, key_shape, value_shape),
            (self.num_heads, self.num_heads),
            (self.key_dim, self.value_dim),
            self._output_shape or (query_shape[-1],),
        )

    def _scores(self, query: Any, key: Any) -> Any:
        terms = self._terms(len(query.shape))
        return ops.einsum(f"{terms[0]},{terms[1]}->{terms[2]}", query, key)

    def _combined(self, weights: Any, value: Any) -> Any:
        terms = self._terms(len(value.shape))
        return ops.einsum(f"{terms[2]},{terms[1]}->{terms[0]}", weights, value)

    def _terms(self, rank: int) -> tuple[str, str, str]:
        """Letters for the axes of the query, of the key and of the scores.

        Scores have the batch axes (those without attention), heads, the axes of queries, those of keys.
        """
        assert self.attention_axes is not None  # `build` has set them
        query, others = letters_of(rank, len(self.attention_axes))
        key = list(query)
        for axis, letter in zip(self.attention_axes, others, strict=True):
            key[axis] = letter
        batch = "".join(letter for axis, letter in enumerate(query[:-2]) if axis not in self.attention_axes)
        queries = "".join(query[axis] for axis in self.attention_axes)
        return query, "".join(key), f"{batch}{query[-2]}{queries}{others}"

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "output_shape": self._output_shape,
            "attention_axes": self.attention_axes,
        }


def _integers(given: Any, name: str) -> tuple[int, ...]:
    if isinstance(given, int):
        return (given,)
    if isinstance(given, (list, tuple)) and all(isinstance(item, int) for item in given):
        return tuple(given)
    raise ValueError(f"`{name}` must be an int, list, or tuple of int. Received: {name}={given!r}")
