"""Scaled dot-product attention and its gradient, with masks given as rules.

    scores = scale query key^T + bias        result = softmax(scores where visible) value

Shapes follow Keras: query [batch, queries, heads, depth], key [batch, keys, key heads, depth], value [batch, keys, key
heads, value depth]; result [batch, queries, heads, value depth]. The number of heads is a multiple of the number of key
heads: consecutive heads share one (Ainslie et al., GQA, 2023). Key j is visible to query i if j <= i (`causal`), if
|i - j| < `window`, and if the tensors among `extras` allow it. An invisible key's score is `MASKED`, a number far below
all others, so that a query that sees no key gives equal weights to all of them, visible or not, as in
`keras.ops.dot_product_attention`; its scores get no gradient.

Both ops decompose into primitives, which hold all scores in memory. Where the CPU has kernels that do not, the pass
`select_attention` takes them instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Op, Value
from compiler.ops.checks import (
    require_dtype,
    require_equal_extents,
    require_inputs,
    require_rank,
    require_same_dtype,
)
from compiler.ops.families import Composite, Cotangents, Derived, received
from compiler.ops.random import Dropout, require_state
from compiler.ops.registry import op
from compiler.types import TensorType
from runtime.dimensions import Dim

# A power of two: a multiple of it in float32 is exact.
MASKED = -(2.0**126)
EXTRAS = ("key_mask", "mask", "bias", "state")


class AttentionRule(Composite):
    """What the forward op and its gradient have in common.

    `scale`: factor of the scores. `causal`, `window`: rules. `extras`: the names, in the order of `EXTRAS`, of the
    tensors behind the op's other inputs: "key_mask" bool [batch, keys], "mask" bool and "bias" float, of rank 4 and
    broadcastable to [batch, heads, queries, keys]; "state" the generator's, for `dropout`, the rate at which weights
    are dropped as by the op of that name on a tensor of that shape.
    """

    scale: float
    causal: bool
    window: int | None
    extras: tuple[str, ...]
    dropout: float

    def __post_init__(self) -> None:
        """Check the attributes."""
        if self.window is not None and self.window < 1:
            raise ValueError(f"{self.name}: window must be at least 1. Received: window={self.window}")
        if tuple(name for name in EXTRAS if name in self.extras) != self.extras:
            raise ValueError(f"{self.name}: extras are some of {EXTRAS}, in that order. Received: {self.extras}")
        if ("state" in self.extras) != (self.dropout > 0) or not 0 <= self.dropout <= 1:
            raise ValueError(
                f"{self.name}: dropout lies in 0..1, and comes with a state where it is not 0. "
                f"Received: dropout={self.dropout}, extras={self.extras}"
            )

    def check(self, inputs: Sequence[TensorType], before_extras: int) -> None:
        """Raise unless query, key, value and the extras, which stand at `before_extras`, agree."""
        require_inputs(self.name, inputs, before_extras + len(self.extras))
        query, key, value = inputs[:3]
        for what, type_ in (("query", query), ("key", key), ("value", value)):
            require_rank(self.name, type_, 4, what)
            require_dtype(self.name, type_, "float", what)
            require_same_dtype(self.name, query, type_)
            require_equal_extents(self.name, f"batch of query and {what}", query.shape[0], type_.shape[0])
        require_equal_extents(self.name, "depth of query and key", query.shape[3], key.shape[3])
        require_equal_extents(self.name, "keys and values", key.shape[1], value.shape[1])
        require_equal_extents(self.name, "heads of key and value", key.shape[2], value.shape[2])
        heads, key_heads = query.shape[2], key.shape[2]
        if not isinstance(heads, int) or not isinstance(key_heads, int) or key_heads < 1 or heads % key_heads:
            raise ValueError(
                f"{self.name}: the heads of the query must be a multiple of those of key and value. "
                f"Received: {query} and {key}"
            )
        self._check_extras(query, key, inputs[before_extras:])

    def _check_extras(self, query: TensorType, key: TensorType, extras: Sequence[TensorType]) -> None:
        shape = scores_shape(query, key)
        for what, type_ in zip(self.extras, extras, strict=True):
            if what == "state":
                require_state(self.name, [type_])
                continue
            if what == "bias":
                require_same_dtype(self.name, query, type_)
            else:
                require_dtype(self.name, type_, "bool", what)
            whole: tuple[Dim, ...] = (shape[0], shape[3]) if what == "key_mask" else shape
            require_rank(self.name, type_, len(whole), what)
            for axis, (extent, wanted) in enumerate(zip(type_.shape, whole, strict=True)):
                if extent != 1 or what == "key_mask":
                    require_equal_extents(self.name, f"extent of axis {axis} of {what}", extent, wanted)

    def weights(self, b: Builder, query: Value, key: Value, extras: Sequence[Value]) -> tuple[Value, Value | None]:
        """The softmax of the scores [batch, heads, queries, keys], and where keys are visible (None: everywhere)."""
        shape = scores_shape(query.type, key.type)
        given = dict(zip(self.extras, extras, strict=True))
        scaled = f.multiply(b, query, self.scale)
        products = f.matmul(b, by_key_head(b, scaled, key), transposed(b, key), transpose_b=True)
        scores = f.reshape(b, products, shape)
        if "bias" in given:
            scores = f.add(b, scores, f.broadcast_to(b, given["bias"], shape))
        visible = self._visible(b, shape, given)
        if visible is not None:
            scores = f.where(b, visible, scores, MASKED)
        return f.softmax(b, scores, -1), visible

    def dropped(self, b: Builder, x: Value, extras: Sequence[Value]) -> Value:
        """Weights, or the cotangents of dropped ones, as far as they are kept."""
        return f.dropout(b, x, extras[-1], self.dropout) if self.dropout > 0 else x

    def dropped_reference(self, x: Array, extras: Sequence[Array]) -> Array:
        """As `dropped`, in NumPy."""
        return Dropout(self.dropout).reference(x, extras[-1])[0] if self.dropout > 0 else x

    def _visible(self, b: Builder, shape: tuple[Dim, ...], given: dict[str, Value]) -> Value | None:
        tests = []
        if self.causal or self.window is not None:
            distance = f.subtract(b, f.iota(b, shape, 2), f.iota(b, shape, 3))
            if self.causal:
                tests.append(f.greater_equal(b, distance, 0))
            if self.window is not None:
                tests.append(f.less(b, f.absolute(b, distance), self.window))
        if "key_mask" in given:
            tests.append(f.broadcast_in(b, given["key_mask"], shape, (0, 3)))
        if "mask" in given:
            tests.append(f.broadcast_to(b, given["mask"], shape))
        result: Value | None = None
        for test in tests:
            result = test if result is None else f.logical_and(b, result, test)
        return result

    def weights_reference(self, query: Array, key: Array, extras: Sequence[Array]) -> tuple[Array, Array]:
        """As `weights`, in NumPy."""
        scores, visible = self.scores_reference(query, key, extras)
        terms = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
        return terms / terms.sum(-1, keepdims=True), visible

    def scores_reference(self, query: Array, key: Array, extras: Sequence[Array]) -> tuple[Array, Array]:
        """The masked scores, and where keys are visible."""
        given = dict(zip(self.extras, extras, strict=True))
        key = np.repeat(key, query.shape[2] // key.shape[2], 2)
        scores = np.einsum("bihd,bjhd->bhij", query * query.dtype.type(self.scale), key)
        distance = np.subtract.outer(np.arange(query.shape[1]), np.arange(key.shape[1]))
        visible = np.ones(scores.shape, bool)
        if self.causal:
            visible &= distance >= 0
        if self.window is not None:
            visible &= np.abs(distance) < self.window
        if "key_mask" in given:
            visible &= given["key_mask"][:, None, None, :]
        if "mask" in given:
            visible &= given["mask"]
        if "bias" in given:
            scores = scores + given["bias"]
        return np.where(visible, scores, scores.dtype.type(MASKED)), visible


def scores_shape(query: TensorType, key: TensorType) -> tuple[Dim, ...]:
    """[batch, heads, queries, keys]."""
    return (query.shape[0], query.shape[2], query.shape[1], key.shape[1])


def transposed(b: Builder, x: Value) -> Value:
    """Heads before positions, or back."""
    return f.transpose(b, x, (0, 2, 1, 3))


def by_key_head(b: Builder, x: Value, key: Value) -> Value:
    """[batch, queries, heads, n] -> [batch, key heads, queries of all heads that share one, n]."""
    batch, _, heads, depth = x.type.shape
    key_heads = key.type.shape[2]
    if heads == key_heads:
        return transposed(b, x)
    return f.reshape(b, transposed(b, x), (batch, key_heads, -1, depth))


def by_query(b: Builder, x: Value, like: Value) -> Value:
    """The way back, for heads and queries as `like` has them."""
    batch, queries, heads, _ = like.type.shape
    return transposed(b, f.reshape(b, x, (batch, heads, queries, x.type.shape[3])))


@op
class DotProductAttention(AttentionRule):
    """(query, key, value, *extras) -> softmax of the scaled, masked scores, times value."""

    scale: float
    causal: bool = False
    window: int | None = None
    extras: tuple[str, ...] = ()
    dropout: float = 0.0

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """Two matrix products around a softmax."""
        self.check([value.type for value in inputs], 3)
        query, key, value = inputs[:3]
        weights, _ = self.weights(b, query, key, inputs[3:])
        weights = self.dropped(b, weights, inputs[3:])
        joined = self._joined(b, weights, key)
        return (by_query(b, f.matmul(b, joined, transposed(b, value)), query),)

    @staticmethod
    def _joined(b: Builder, scores: Value, key: Value) -> Value:
        batch, _, _, keys = scores.type.shape
        return f.reshape(b, scores, (batch, key.type.shape[2], -1, keys))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's einsum over all scores."""
        query, key, value = inputs[:3]
        weights, _ = self.weights_reference(query, key, inputs[3:])
        weights = self.dropped_reference(weights, inputs[3:])
        value = np.repeat(value, query.shape[2] // value.shape[2], 2)
        return (np.einsum("bhij,bjhd->bihd", weights, value),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """An op of its own."""
        of_inputs = DotProductAttentionGradient(*self.fields.values())
        results = b.emit_all(of_inputs, *inputs[:3], outputs[0], received(cotangents), *inputs[3:])
        of_extras: list[Value | None] = [results[3] if name == "bias" else None for name in self.extras]
        return (*results[:3], *of_extras)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Every rule and tensor; heads of their own and shared; queries that see nothing."""
        for attributes, arrays in _sample_cases():
            yield cls(*attributes), arrays


@op
class DotProductAttentionGradient(AttentionRule, Derived):
    """(query, key, value, result, its cotangent, *extras) -> cotangents of query, key, value and, if given, bias."""

    scale: float
    causal: bool = False
    window: int | None = None
    extras: tuple[str, ...] = ()
    dropout: float = 0.0

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """Through the softmax: w (g value^T - rowsum(g result)), w being its result; then two matrix products."""
        self.check([value.type for value in inputs], 5)
        query, key, value, result, g = inputs[:5]
        require_inputs(self.name, [value.type for value in inputs], 5 + len(self.extras))
        if result.type != g.type or result.type != query.type.with_shape(*query.type.shape[:3], value.type.shape[3]):
            raise ValueError(
                f"{self.name}: the result and its cotangent have the queries and heads of {query.type} and the depth "
                f"of {value.type}. Received: {result.type} and {g.type}"
            )
        weights, visible = self.weights(b, query, key, inputs[5:])
        shape = weights.type.shape
        joined = (shape[0], key.type.shape[2], -1, shape[3])
        rows = by_key_head(b, g, key)
        of_weights = f.reshape(b, f.matmul(b, rows, transposed(b, value), transpose_b=True), shape)
        of_weights, kept = (self.dropped(b, x, inputs[5:]) for x in (of_weights, weights))
        mean = f.transpose(b, f.reduce_sum(b, f.multiply(b, g, result), (3,)), (0, 2, 1))
        of_scores = f.multiply(b, weights, f.subtract(b, of_weights, f.spread(b, mean, shape, (3,))))
        if visible is not None:
            of_scores = f.where(b, visible, of_scores, 0.0)
        flat = f.reshape(b, of_scores, joined)
        scaled = by_key_head(b, f.multiply(b, query, self.scale), key)
        of_query = f.multiply(b, by_query(b, f.matmul(b, flat, transposed(b, key)), query), self.scale)
        of_key = transposed(b, f.matmul(b, flat, scaled, transpose_a=True))
        of_value = transposed(b, f.matmul(b, f.reshape(b, kept, joined), rows, transpose_a=True))
        results = (of_query, of_key, of_value)
        if "bias" not in self.extras:
            return results
        return (*results, self._of_bias(b, of_scores, inputs[5 + self.extras.index("bias")]))

    @staticmethod
    def _of_bias(b: Builder, of_scores: Value, bias: Value) -> Value:
        pairs = zip(bias.type.shape, of_scores.type.shape, strict=True)
        axes = [axis for axis, (own, whole) in enumerate(pairs) if own != whole]
        if not axes:
            return of_scores
        return f.reshape(b, f.reduce_sum(b, of_scores, axes), bias.type.shape)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's einsum over all scores."""
        query, key, value, result, g = inputs[:5]
        weights, visible = self.weights_reference(query, key, inputs[5:])
        shared = query.shape[2] // key.shape[2]
        keys, values = np.repeat(key, shared, 2), np.repeat(value, shared, 2)
        of_weights = self.dropped_reference(np.einsum("bihd,bjhd->bhij", g, values), inputs[5:])
        kept = self.dropped_reference(weights, inputs[5:])
        mean = np.einsum("bihd,bihd->bhi", g, result)[..., None]
        of_scores = np.where(visible, weights * (of_weights - mean), weights.dtype.type(0))
        scale = query.dtype.type(self.scale)
        of_query = np.einsum("bhij,bjhd->bihd", of_scores, keys) * scale
        of_keys = np.einsum("bhij,bihd->bjhd", of_scores, query * scale)
        of_values = np.einsum("bhij,bihd->bjhd", kept, g)
        of_key, of_value = (
            x.reshape(*x.shape[:2], key.shape[2], shared, x.shape[3]).sum(3) for x in (of_keys, of_values)
        )
        if "bias" not in self.extras:
            return of_query, of_key, of_value
        bias = inputs[5 + self.extras.index("bias")]
        axes = tuple(axis for axis in range(4) if bias.shape[axis] != of_scores.shape[axis])
        return of_query, of_key, of_value, np.asarray(of_scores.sum(axes, keepdims=True))

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Those of the forward op, with its result and a cotangent."""
        rng = np.random.default_rng(51)
        for attributes, arrays in _sample_cases():
            (result,) = DotProductAttention(*attributes).reference(*arrays)
            g = np.asarray(rng.normal(size=result.shape))
            yield cls(*attributes), (*arrays[:3], result, g, *arrays[3:])


Attributes = tuple[float, bool, int | None, tuple[str, ...], float]


def _sample_cases() -> Iterator[tuple[Attributes, tuple[Array, ...]]]:
    """Attributes and inputs of the forward op."""
    rng = np.random.default_rng(50)

    def tensors(queries: int, keys: int, heads: int, key_heads: int, depth: int, values: int) -> tuple[Array, ...]:
        batch = 2
        return (
            rng.normal(size=(batch, queries, heads, depth)),
            rng.normal(size=(batch, keys, key_heads, depth)),
            rng.normal(size=(batch, keys, key_heads, values)),
        )

    key_mask = np.array([[True, True, False, True, False], [False] * 5])
    yield (0.5, False, None, (), 0.0), tensors(3, 5, 2, 2, 4, 4)
    yield (0.7, True, None, (), 0.0), tensors(4, 4, 2, 1, 3, 2)
    yield (0.4, False, 3, (), 0.0), tensors(5, 4, 4, 2, 2, 3)
    yield (0.3, False, 2, ("key_mask",), 0.0), (*tensors(4, 5, 2, 2, 3, 3), key_mask)
    mask = rng.random((2, 1, 3, 5)) < 0.6
    yield (1.0, False, None, ("mask",), 0.0), (*tensors(3, 5, 2, 2, 2, 2), mask)
    bias = rng.normal(size=(1, 4, 1, 5))
    yield (0.6, True, None, ("key_mask", "bias"), 0.0), (*tensors(3, 5, 4, 2, 2, 1), key_mask, bias)
    bias = rng.normal(size=(2, 2, 3, 3))
    yield (0.6, False, 3, ("mask", "bias"), 0.0), (*tensors(3, 3, 2, 1, 2, 2), rng.random((1, 1, 3, 3)) < 0.8, bias)
    state = np.array([7, 3], "uint32")
    yield (0.6, False, None, ("state",), 0.4), (*tensors(3, 5, 4, 2, 2, 2), state)
