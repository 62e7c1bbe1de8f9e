"""What attention with several heads shares: projections, masks, and which way attention is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphcore import constraints, initializers, ops, regularizers
from graphcore.initializers import Initializer
from graphcore.layers.dropout import Dropout
from graphcore.layers.einsum_dense import EinsumDense
from graphcore.layers.layer import Layer
from graphcore.layers.softmax import Softmax
from graphcore.ops.attention import rule_attention
from graphcore.tensor import KerasTensor

Shape = Sequence[int | None]


class AttentionHeads(Layer):
    """Projections of query, key and value, attention of each head, and a projection of what the heads found.

    Args:
        depth: length of queries and keys of one head.
        heads: number of heads of the query.
        dropout: share of the attention weights dropped during training.
        use_bias: whether projections add a bias.
        sliding_window: position i sees position j only if |i - j| < sliding_window; None: no such rule.
        flash_attention: accepted; not together with dropout or attention scores.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint: of the projections, see `EinsumDense`.
        use_gate: whether what the heads found is multiplied by sigmoid(a projection of the query).
        seed: of the dropout.
        kwargs: see `Layer`.

    Raises:
        ValueError: arguments out of range, or that exclude each other.
    """

    supports_masking = True
    attention_rank = 1  # how many axes attention runs over

    def __init__(
        self,
        depth: int,
        heads: int,
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        kernel_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        activity_regularizer: Any,
        kernel_constraint: Any,
        bias_constraint: Any,
        use_gate: bool,
        seed: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if sliding_window is not None and (not isinstance(sliding_window, int) or sliding_window <= 0):
            raise ValueError(
                f"`sliding_window` must be `None` or a positive integer. Received: sliding_window={sliding_window}"
            )
        if flash_attention and dropout > 0:
            raise ValueError(
                "Dropout is not supported when flash attention is enabled. Set `dropout` to 0.0, or leave "
                "`flash_attention` out: attention without dropout never keeps its scores."
            )
        self.scale = 1.0 / math.sqrt(depth)
        self.query_heads = heads
        self.dropout = dropout
        self.use_bias = use_bias
        self.sliding_window = sliding_window
        self.flash_attention = flash_attention
        self.use_gate = use_gate
        self.seed = seed
        self._projection_arguments = {
            "kernel_initializer": initializers.get(kernel_initializer),
            "bias_initializer": initializers.get(bias_initializer),
            "kernel_regularizer": regularizers.get(kernel_regularizer),
            "bias_regularizer": regularizers.get(bias_regularizer),
            "activity_regularizer": regularizers.get(activity_regularizer),
            "kernel_constraint": constraints.get(kernel_constraint),
            "bias_constraint": constraints.get(bias_constraint),
        }

    # -- building ----------------------------------------------------------------------------------------

    def _build_projections(
        self, shapes: tuple[Shape, Shape, Shape], heads: tuple[int, int], depths: tuple[int, int], output: Shape
    ) -> None:
        """Make the projections.

        Args:
            shapes: of query, key and value.
            heads: of the query, and of key and value.
            depths: of queries and keys, and of values.
            output: extents of the result in the place of the query's last.
        """
        query_shape, key_shape, value_shape = shapes
        self._query_dense = self._to_heads("query", query_shape, heads[0], depths[0])
        self._key_dense = self._to_heads("key", key_shape, heads[1], depths[0])
        if self.use_gate:
            self._gate_dense = self._to_heads("gate", query_shape, heads[0], depths[1], activation="sigmoid")
        self._value_dense = self._to_heads("value", value_shape, heads[1], depths[1])
        self._softmax = Softmax(
            axis=-1 if self.attention_rank == 1 else list(range(-self.attention_rank, 0)), dtype=self.dtype_policy
        )
        self._dropout_layer = Dropout(self.dropout, seed=self.seed, dtype=self.dtype_policy)
        free, made = letters_of(len(query_shape) - 1, 2 + len(output))
        self._output_dense = EinsumDense(
            f"{free}{made[:2]},{made}->{free}{made[2:]}",
            output_shape=(*(None,) * (len(free) - 1), *output),
            bias_axes=made[2:] if self.use_bias else None,
            name="attention_output",
            **self._arguments(),
        )
        self._output_dense.build((*query_shape[:-1], heads[0], depths[1]))

    def _to_heads(self, name: str, shape: Shape, heads: int, depth: int, activation: Any = None) -> EinsumDense:
        """The last axis, projected to [heads, depth]."""
        free, made = letters_of(len(shape) - 1, 3)
        layer = EinsumDense(
            f"{free}{made[0]},{made}->{free}{made[1:]}",
            output_shape=(*(None,) * (len(free) - 1), heads, depth),
            bias_axes=made[1:] if self.use_bias else None,
            activation=activation,
            name=name,
            **self._arguments(),
        )
        layer.build(shape)
        return layer

    def _arguments(self) -> dict[str, Any]:
        """What all projections are made with; each has initializers of its own, which draw numbers of their own."""
        arguments = dict(self._projection_arguments)
        for name in ("kernel_initializer", "bias_initializer"):
            given = arguments[name]
            if isinstance(given, Initializer):
                arguments[name] = type(given).from_config(given.get_config())
        return {**arguments, "dtype": self.dtype_policy}

    @property
    def query_dense(self) -> EinsumDense:
        """The projection of the query."""
        return self._query_dense

    @property
    def key_dense(self) -> EinsumDense:
        """The projection of the key."""
        return self._key_dense

    @property
    def value_dense(self) -> EinsumDense:
        """The projection of the value."""
        return self._value_dense

    @property
    def output_dense(self) -> EinsumDense:
        """The projection of what the heads found."""
        return self._output_dense

    # -- calling -----------------------------------------------------------------------------------------

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Compute the output, and the attention weights (batch, ..., heads, queries, keys) if they are asked for.

        Args:
            query: (batch, ..., queries, features).
            value: (batch, ..., keys, features).
            key: as value, which it is by default.
            query_mask: bool (batch, queries), by default the query's Keras mask; where it is False nothing is seen.
            value_mask, key_mask: bool (batch, keys), by default the Keras masks; False: the key is not seen.
            attention_mask: bool, broadcastable to (batch, heads, queries, keys), or without heads.
            return_attention_scores: whether to return the attention weights too.
            training: whether to drop out.
            use_causal_mask: position i sees position j only if j <= i.

        A key is seen where all masks say so.

        Raises:
            ValueError: `return_attention_scores` with `flash_attention`.
        """
        if self.flash_attention and return_attention_scores:
            raise ValueError(
                "Returning attention scores is not supported when flash attention is enabled. Leave "
                "`flash_attention` out: attention whose scores are not asked for never keeps them."
            )
        masks = AttentionMasks(
            _as_bool(query_mask),
            _both(_as_bool(value_mask), _as_bool(key_mask)),
            _as_bool(attention_mask),
            bool(use_causal_mask),
            self.sliding_window,
        )
        projected = self._project(query, value if key is None else key, value)
        # A mask of pairs is as large as the scores.
        has_rules = len(projected[0].shape) == 4 and (
            not self.dropout or (self.dropout < 1 and masks.has_plain_blindness())
        )
        weights = None
        if return_attention_scores or not has_rules:
            outputs, weights = self._by_scores(*projected, masks, training)
        else:
            outputs = self._by_rules(*projected, masks, training)
        if self.use_gate:
            outputs = ops.multiply(outputs, self._gate_dense(query))
        outputs = self._output_dense(outputs)
        return (outputs, weights) if return_attention_scores else outputs

    def _project(self, query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
        """Query, key and value, [..., heads, depth] each."""
        return self._query_dense(_bare(query)), self._key_dense(_bare(key)), self._value_dense(_bare(value))

    def _by_rules(self, query: Any, key: Any, value: Any, masks: AttentionMasks, training: Any) -> Any:
        """What the heads found, without a tensor of all scores."""
        drops = self.dropout > 0 and bool(training)
        outputs = rule_attention(
            query,
            key,
            value,
            query_mask=masks.queries,
            key_mask=masks.keys,
            mask=_with_heads(masks.pairs, 4, 1),
            scale=self.scale,
            causal=masks.causal,
            window=masks.window,
            dropout=self.dropout if drops else 0.0,
            state=self._dropout_layer.seed_generator.next() if drops else None,
        )
        if not self.dropout or masks.always_see():
            return outputs
        # Keras computes the scores where there is dropout, and then gives 0 for a query that sees nothing, else a mean.
        seeing = ops.expand_dims(masks.seeing(query, key), (-2, -1))
        return ops.where(seeing, outputs, ops.zeros_like(outputs))

    def _by_scores(self, query: Any, key: Any, value: Any, masks: AttentionMasks, training: Any) -> tuple[Any, Any]:
        """What the heads found, and the weights, [batch, ..., heads, queries, keys]."""
        scores = self._scores(ops.multiply(query, self.scale), key)
        seen = masks.tensor(scores, self.attention_rank)
        weights = _bare(self._softmax(scores, mask=seen))  # who asks for them gets numbers, not masked ones
        kept = self._dropout_layer(weights, training=training) if self.dropout > 0 else weights
        return self._combined(kept, value), weights

    def _scores(self, query: Any, key: Any) -> Any:
        raise NotImplementedError

    def _combined(self, weights: Any, value: Any) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments that all share; JSON can hold them."""
        given = self._projection_arguments
        serialize = {"initializer": initializers.serialize, "regularizer": regularizers.serialize,
                     "constraint": constraints.serialize}  # fmt: skip
        return {
            **super().get_config(),
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "use_gate": self.use_gate,
            "sliding_window": self.sliding_window,
            "flash_attention": self.flash_attention,
            **{name: serialize[name.rsplit("_", 1)[1]](value) for name, value in given.items()},
            "seed": self.seed,
        }


class AttentionMasks:
    """Which keys a query sees: those that all rules allow.

    Attributes:
        queries: bool (batch, queries) or None.
        keys: bool (batch, keys) or None.
        pairs: bool (batch, queries, keys), or with an axis of heads, or None.
        causal, window: rules on positions.
    """

    def __init__(self, queries: Any, keys: Any, pairs: Any, causal: bool, window: int | None) -> None:
        self.queries = queries
        self.keys = keys
        self.pairs = pairs
        self.causal = causal
        self.window = window

    def always_see(self) -> bool:
        """Whether every query is sure to see a key."""
        return self.queries is None and self.keys is None and self.pairs is None and self.window is None

    def has_plain_blindness(self) -> bool:
        """Whether `seeing` can tell which queries see nothing."""
        return self.pairs is None and (self.keys is None or self.window is None)

    def seeing(self, query: Any, key: Any) -> Any:
        """Which queries see a key, bool, broadcastable to (batch, queries)."""
        position, keys = ops.expand_dims(ops.arange(ops.shape(query)[1], dtype="int32"), 0), ops.shape(key)[1]
        if self.keys is None:
            # Without a window there is always the first key; a window may end before the last query.
            seeing = ops.less(position, keys + self.window - 1) if self.window else ops.ones_like(position, "bool")
        else:
            numbers = ops.expand_dims(ops.arange(keys, dtype="int32"), 0)
            first = ops.min(ops.where(self.keys, numbers, keys), axis=1, keepdims=True)
            seeing = ops.less(first, keys)
            if self.causal:
                seeing = ops.logical_and(seeing, ops.greater_equal(position, first))
        return seeing if self.queries is None else ops.logical_and(seeing, self.queries)

    def tensor(self, scores: Any, rank: int) -> Any:
        """All rules as one tensor that broadcasts to the scores; None without any.

        Args:
            scores: (batch, ..., heads, queries, keys).
            rank: how many axes queries have, and keys.

        Raises:
            ValueError: rules on positions where these are on several axes.
        """
        found = None
        if self.queries is not None:
            found = ops.expand_dims(self.queries, -1)
        if self.keys is not None:
            found = _both(found, ops.expand_dims(self.keys, -2))
        if self.causal or self.window is not None:
            extents = ops.shape(scores)[-2:]
            distance = ops.subtract(
                ops.expand_dims(ops.arange(extents[0], dtype="int32"), 1), ops.arange(extents[1], dtype="int32")
            )
            if self.causal:
                found = _both(found, ops.expand_dims(ops.greater_equal(distance, 0), 0))
            if self.window is not None:
                found = _both(found, ops.expand_dims(ops.less(ops.abs(distance), self.window), 0))
        if found is not None and rank > 1:
            raise ValueError(
                "Masks of queries, keys and values, `use_causal_mask` and `sliding_window` need attention over one "
                f"axis. Received: attention over {rank} axes. Fix: say which keys a query sees in `attention_mask`, "
                "(batch, *queries, *keys)."
            )
        full = len(scores.shape)
        return _both(_with_heads(found, full, rank), _with_heads(self.pairs, full, rank))


def _with_heads(mask: Any, rank: int, attention_rank: int) -> Any:
    """The mask with axes of extent 1 in front of its axes of queries and keys, up to `rank` axes."""
    if mask is None:
        return None
    for _ in range(rank - len(mask.shape)):
        mask = ops.expand_dims(mask, -2 * attention_rank - 1)
    return mask


def _both(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return first if second is None else second
    return ops.logical_and(first, second)


def _as_bool(mask: Any) -> Any:
    return None if mask is None else ops.cast(mask, "bool")


def _bare(tensor: Any) -> Any:
    """The tensor without its Keras mask, which the projections would warn of."""
    return tensor if tensor.keras_mask is None else KerasTensor.traced(tensor.value, tensor.trace_number)


def letters_of(free: int, made: int) -> tuple[str, str]:
    """Letters for axes that stay and for axes of a kernel."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return letters[:free], letters[free : free + made]
