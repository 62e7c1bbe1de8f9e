"""Attention."""

from __future__ import annotations

from typing import Any

from compiler import functions as f
from compiler.ir import Builder, Value
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.keras_class import keras_class


@keras_class("nn", "is_causal flash_attention attn_logits_soft_cap")
@operation
def dot_product_attention(
    b: Builder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Value:
    """softmax(scale · query keyᵀ + bias) value, head by head (Vaswani et al., 2017).

    Args:
        query: (batch, queries, heads, depth).
        key: (batch, keys, key heads, depth); `heads` is a multiple of `key heads`, consecutive heads share one.
        value: (batch, keys, key heads, value depth).
        bias: broadcastable to (batch, heads, queries, keys), added to the scaled scores.
        mask: bool, broadcastable to the same; False: the key is not seen.
        scale: factor of the scores; None for 1 / sqrt(depth).
        is_causal: query i sees key j only if j <= i.
        flash_attention: accepted; scores are never kept where the machine has kernels for that.
        attn_logits_soft_cap: must be None.

    A query that sees no key gets the mean of all values.

    Returns:
        (batch, queries, heads, value depth).

    Raises:
        ValueError: shapes that do not fit.
    """
    if attn_logits_soft_cap is not None:
        raise ValueError(
            f"dot_product_attention: `attn_logits_soft_cap` is not supported. Received: {attn_logits_soft_cap}. "
            "Leave it out."
        )
    return f.dot_product_attention(b, query, key, value, scale=scale, causal=is_causal, mask=mask, bias=bias)


@operation
def rule_attention(
    b: Builder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    mask: Tensor | None = None,
    scale: Any = None,
    causal: bool = False,
    window: int | None = None,
    dropout: float = 0.0,
    state: Tensor | None = None,
) -> Value:
    """As `dot_product_attention`, with masks given as rules, of which no tensor of all scores is made.

    Args:
        query, key, value, mask, scale: see `dot_product_attention`.
        query_mask: bool (batch, queries); False: the query sees no key.
        key_mask: bool (batch, keys); False: no query sees the key.
        causal: query i sees key j only if j <= i.
        window: query i sees key j only if |i - j| < window.
        dropout: share of the weights that is dropped, below 1; the pattern is made again where it is needed.
        state: of a `SeedGenerator`, for the dropout.
    """
    return f.dot_product_attention(
        b, query, key, value,
        scale=scale, causal=causal, window=window, key_mask=key_mask, query_mask=query_mask, mask=mask,
        dropout=dropout, state=state,
    )  # fmt: skip
