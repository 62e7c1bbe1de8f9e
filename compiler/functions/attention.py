"""Attention."""

from __future__ import annotations

import math

from compiler.functions.composites import mean
from compiler.functions.core import broadcast_in, cast, common_dtype, make
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
    """softmax(scale query key^T + bias, where visible) value; see `compiler.ops.attention`.

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

    Returns:
        [batch, queries, heads, value depth].

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if dtypes do not.
    """
    dtype = common_dtype((query, key, value))
    wide = "float32" if dtype == "float16" else dtype
    query, key, value = (cast(b, x, wide) for x in (query, key, value))
    if scale is None:
        depth = query.type.shape[-1]
        if not isinstance(depth, int):
            raise ValueError(
                f"dot_product_attention: needs `scale` where the depth is not known. Received: {query.type}"
            )
        scale = 1.0 / math.sqrt(depth)
    extras: dict[str, Value] = {}
    if key_mask is not None:
        extras["key_mask"] = cast(b, key_mask, "bool")
    if mask is not None:
        extras["mask"] = _of_full_rank(b, cast(b, mask, "bool"))
    if bias is not None:
        extras["bias"] = _of_full_rank(b, cast(b, bias, wide))
    if state is not None and dropout > 0:
        extras["state"] = state
    op = make(
        "dot_product_attention", scale=float(scale), causal=causal, window=window, extras=tuple(extras),
        dropout=float(dropout),
    )  # fmt: skip
    result = b.emit(op, query, key, value, *extras.values())
    if query_mask is not None:
        shape = result.type.shape
        average = mean(b, value, 1)
        if value.type.shape[2] != shape[2]:
            average = repeat(b, average, _shared(shape[2], value.type.shape[2]), 1)
        seen = broadcast_in(b, cast(b, query_mask, "bool"), shape, (0, 1))
        result = where(b, seen, result, broadcast_in(b, average, shape, (0, 2, 3)))
    return cast(b, result, dtype)


def _shared(heads: object, key_heads: object) -> int:
    assert isinstance(heads, int)  # the op has checked both
    assert isinstance(key_heads, int)
    return heads // key_heads


def _of_full_rank(b: Builder, x: Value) -> Value:
    """With leading axes of extent 1."""
    return x if x.type.rank >= RANK else reshape(b, x, (*(1,) * (RANK - x.type.rank), *x.type.shape))
