"""Attention; see `compiler.ops.attention`."""

from __future__ import annotations

import math

from compiler.functions.composites import mean
from compiler.functions.core import broadcast_in, cast, common_dtype, emit
from compiler.functions.elementwise import where
from compiler.functions.shapes import repeat, reshape
from compiler.ir import Builder, Value

RANK = 4


def dot_product_attention(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    *,
    scale: float | None = None,
    causal: bool = False,
    window: int | None = None,
    key_mask: Value | None = None,
    query_mask: Value | None = None,
    mask: Value | None = None,
    bias: Value | None = None,
    dropout: float = 0.0,
    state: Value | None = None,
) -> Value:
    """softmax(scale query key^T + bias, where visible) value, [batch, queries, heads, value depth].

    Args:
        b: where to emit.
        query: [batch, queries, heads, depth].
        key: [batch, keys, key heads, depth]; `heads` is a multiple of `key heads`, consecutive heads share one.
        value: [batch, keys, key heads, value depth].
        scale: factor of the scores; None for 1 / sqrt(depth).
        causal: query i sees key j only if j <= i.
        window: query i sees key j only if |i - j| < window.
        key_mask: bool [batch, keys], the keys that are visible at all.
        query_mask: bool [batch, queries]; a query where it is false sees no key.
        mask: bool, broadcastable to [batch, heads, queries, keys].
        bias: float, broadcastable to the same, added to the scaled scores.
        dropout: share of the weights that is dropped, the others being scaled up; of one number a pair, head and row.
        state: the generator's, for the dropout.

    A query that sees no key gets the mean of all values, as in `keras.ops.dot_product_attention`. With neither `mask`
    nor `bias` no tensor of all scores is made where the target has kernels for that; float16 is computed in float32.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if dtypes do not.
    """
    dtype = common_dtype((query, key, value))
    wide = "float32" if dtype == "float16" else dtype
    query, key, value = (cast(b, x, wide) for x in (query, key, value))
    scale = _default_scale(query) if scale is None else float(scale)
    extras = _extras(b, wide, key_mask, mask, bias, state if dropout > 0 else None)
    rule = {"causal": causal, "window": window, "dropout": float(dropout), "extras": tuple(extras)}
    result = emit(b, "dot_product_attention", query, key, value, *extras.values(), scale=scale, **rule)
    return cast(b, result if query_mask is None else _where_seen(b, query_mask, result, value), dtype)


def _default_scale(query: Value) -> float:
    depth = query.type.shape[-1]
    if not isinstance(depth, int):
        raise ValueError(f"dot_product_attention: needs `scale` where the depth is not known. Received: {query.type}")
    return 1.0 / math.sqrt(depth)


def _extras(
    b: Builder, dtype: str, key_mask: Value | None, mask: Value | None, bias: Value | None, state: Value | None
) -> dict[str, Value]:
    """The tensors that are given, as the op takes them."""
    extras: dict[str, Value] = {}
    if key_mask is not None:
        extras["key_mask"] = cast(b, key_mask, "bool")
    if mask is not None:
        extras["mask"] = _of_full_rank(b, cast(b, mask, "bool"))
    if bias is not None:
        extras["bias"] = _of_full_rank(b, cast(b, bias, dtype))
    if state is not None:
        extras["state"] = state
    return extras


def _where_seen(b: Builder, query_mask: Value, result: Value, value: Value) -> Value:
    """The result, and for queries that are masked the mean of all values."""
    shape = result.type.shape
    average = mean(b, value, 1)
    if value.type.shape[2] != shape[2]:
        average = repeat(b, average, _shared(shape[2], value.type.shape[2]), 1)
    seen = broadcast_in(b, cast(b, query_mask, "bool"), shape, (0, 1))
    return where(b, seen, result, broadcast_in(b, average, shape, (0, 2, 3)))


def _shared(heads: object, key_heads: object) -> int:
    assert isinstance(heads, int)  # the op has checked both
    assert isinstance(key_heads, int)
    return heads // key_heads


def _of_full_rank(b: Builder, x: Value) -> Value:
    """With leading axes of extent 1."""
    return x if x.type.rank >= RANK else reshape(b, x, (*(1,) * (RANK - x.type.rank), *x.type.shape))
