"""Attention, against sums written out query by query in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

import compiler.ops as ops
from compiler import functions as f
from compiler.ir import Builder
from compiler.ops.attention import DotProductAttention
from compiler.ops.attention_kernels import AttentionGradientKernel, AttentionKernel
from compiler.ops.random import Dropout
from compiler.text import ParseError, parse
from compiler.types import TensorType

assert ops.__all__

RNG = np.random.default_rng(40)
BATCH, QUERIES, KEYS, HEADS, KEY_HEADS, DEPTH, VALUES = 2, 5, 6, 4, 2, 3, 2
SCALE = 1 / math.sqrt(DEPTH)


def tensors() -> list[np.ndarray]:
    shapes = ((QUERIES, HEADS, DEPTH), (KEYS, KEY_HEADS, DEPTH), (KEYS, KEY_HEADS, VALUES))
    return [RNG.normal(size=(BATCH, *shape)) for shape in shapes]


def attended(query, key, value, visible, *, scale=SCALE, bias=None):
    """One query at a time; `visible` and `bias` are [batch, heads, queries, keys]."""
    result = np.zeros((*query.shape[:3], value.shape[3]))
    for b, i, h in np.ndindex(*query.shape[:3]):
        group = h * key.shape[2] // query.shape[2]
        keys = [j for j in range(key.shape[1]) if visible[b, h, i, j]]
        if not keys:
            result[b, i, h] = value[b, :, group].mean(0)
            continue
        scores = [scale * float(query[b, i, h] @ key[b, j, group]) for j in keys]
        if bias is not None:
            scores = [score + bias[b, h, i, j] for score, j in zip(scores, keys, strict=True)]
        weights = [math.exp(score) for score in scores]
        shares = [weight / math.fsum(weights) for weight in weights]
        result[b, i, h] = sum(share * value[b, j, group] for share, j in zip(shares, keys, strict=True))
    return result


def everywhere() -> np.ndarray:
    return np.ones((BATCH, HEADS, QUERIES, KEYS), bool)


def test_rules_by_their_definition(run) -> None:
    x = tensors()
    distance = np.subtract.outer(np.arange(QUERIES), np.arange(KEYS))
    key_mask = RNG.random((BATCH, KEYS)) < 0.5
    key_mask[1] = False
    for causal in (False, True):
        for window in (None, 1, 3):
            for mask in (None, key_mask):
                visible = everywhere() & ((distance >= 0) | (not causal)) & (np.abs(distance) < (window or 99))
                names = {} if mask is None else {"key_mask": mask}
                if mask is not None:
                    visible &= mask[:, None, None, :]

                def function(b, query, key, value, *extras, causal=causal, window=window, names=tuple(names)):
                    given = dict(zip(names, extras, strict=True))
                    return f.dot_product_attention(b, query, key, value, causal=causal, window=window, **given)

                np.testing.assert_allclose(run(function, *x, *names.values()), attended(*x, visible), rtol=1e-10)


def test_mask_and_bias_broadcast(run) -> None:
    x = tensors()
    mask = RNG.random((QUERIES, KEYS)) < 0.7
    bias = RNG.normal(size=(HEADS, 1, KEYS))
    given = run(lambda b, q, k, v, m, c: f.dot_product_attention(b, q, k, v, scale=0.3, mask=m, bias=c), *x, mask, bias)
    whole = np.broadcast_to(bias, (BATCH, HEADS, QUERIES, KEYS))
    np.testing.assert_allclose(given, attended(*x, everywhere() & mask, scale=0.3, bias=whole), rtol=1e-10)


@pytest.mark.parametrize("shared", [False, True])
def test_a_masked_query_gets_the_mean_of_all_values(run, shared: bool) -> None:
    query, key, value = tensors()
    if not shared:
        query = query[:, :, :KEY_HEADS]
    query_mask = RNG.random((BATCH, QUERIES)) < 0.5
    visible = np.ones((BATCH, query.shape[2], QUERIES, KEYS), bool) & query_mask[:, None, :, None]
    visible &= np.tri(QUERIES, KEYS, dtype=bool)
    given = run(
        lambda b, q, k, v, m: f.dot_product_attention(b, q, k, v, query_mask=m, causal=True),
        query,
        key,
        value,
        query_mask,
    )
    np.testing.assert_allclose(given, attended(query, key, value, visible), rtol=1e-10)


def test_half_precision_is_computed_in_single(run) -> None:
    x = [array.astype("float16") for array in tensors()]
    given = run(lambda b, q, k, v: f.dot_product_attention(b, q, k, v), *x)
    assert given.dtype == np.float16
    exact = attended(*(array.astype("float64") for array in x), everywhere())
    np.testing.assert_allclose(given, exact, rtol=2**-10)


def test_the_scale_is_that_of_the_depth() -> None:
    b = Builder()
    x = b.input("x", TensorType((2, 3, 4, 16)))
    result = f.dot_product_attention(b, x, x, x)
    assert result.type == x.type
    (node,) = b.nodes
    assert node.op == DotProductAttention(0.25)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": (2, 6, 3, 3), "value": (2, 6, 3, 2)}, "multiple"),
        ({"key": (2, 6, 2, 4)}, "depth of query and key"),
        ({"value": (2, 5, 2, 2)}, "keys and values"),
        ({"value": (3, 6, 2, 2)}, "batch"),
        ({"value": (2, 6, 1, 2)}, "heads of key and value"),
        ({"query": (5, 4, 3)}, "rank 4"),
    ],
)
def test_errors_say_what_does_not_fit(change: dict[str, tuple[int, ...]], message: str) -> None:
    shapes = {"query": (2, 5, 4, 3), "key": (2, 6, 2, 3), "value": (2, 6, 2, 2)} | change
    b = Builder()
    values = [b.input(name, TensorType(shape)) for name, shape in shapes.items()]
    with pytest.raises(ValueError, match=message):
        f.dot_product_attention(b, *values)


def test_dropout_needs_a_state() -> None:
    b = Builder()
    x = b.input("x", TensorType((2, 3, 4, 16)))
    with pytest.raises(ValueError, match="state"):
        f.dot_product_attention(b, x, x, x, dropout=0.5)


@pytest.mark.parametrize("dropout", [-0.25, 1.5, float("nan")])
@pytest.mark.parametrize("with_state", [False, True])
def test_dropout_is_a_share(dropout: float, with_state: bool) -> None:
    b = Builder()
    x = b.input("x", TensorType((2, 3, 4, 16)))
    state = b.input("state", TensorType((2,), "uint32")) if with_state else None
    with pytest.raises(ValueError, match=r"dropout lies in 0\.\.1"):
        f.dot_product_attention(b, x, x, x, dropout=dropout, state=state)


def test_kernels_refuse_to_drop_all_weights() -> None:
    b = Builder()
    x, state = b.input("x", TensorType((2, 5, 3, 4))), b.input("state", TensorType((2,), "uint32"))
    numbers = b.input("numbers", TensorType((2, 2, 3, 5)))
    message = r"attention(_gradient)?_kernel: .*dropout must be below 1; .*Received: dropout=1\.0"
    rule = (0.5, False, None, ("state",))
    for op, inputs in ((AttentionKernel, (x, x, x)), (AttentionGradientKernel, (x, x, x, x, x, numbers))):
        b.emit_all(op(*rule, 0.5), *inputs, state)
        with pytest.raises(ValueError, match=message):
            b.emit_all(op(*rule, 1.0), *inputs, state)
    text = """graph g {
  input %0 "x": f32[2,5,3,4]
  input %1 "s": u32[2]
  %2: f32[2,5,3,4], %3: f32[2,2,3,5] = attention_kernel(%0, %0, %0, %1) {scale=0.5, causal=False, window=None, \
extras=("state",), dropout=RATE}
  return "y"=%2
}"""
    parse(text.replace("RATE", "0.5"))
    with pytest.raises(ParseError, match=message):
        parse(text.replace("RATE", "1.0"))


def test_dropout_drops_the_weights_that_the_op_of_that_name_drops(run) -> None:
    query, key, _ = tensors()
    state = np.array([5, 9], "uint32")
    identity = np.broadcast_to(np.eye(KEYS)[None, :, None], (BATCH, KEYS, KEY_HEADS, KEYS)).copy()

    def dropping(b, query, key, value, state):
        return f.dot_product_attention(b, query, key, value, dropout=0.25, state=state)

    weights = run(lambda b, *x: f.dot_product_attention(b, *x), query, key, identity)
    dropped = run(dropping, query, key, identity, state)
    (expected,) = Dropout(0.25).reference(weights.transpose(0, 2, 1, 3), state)
    np.testing.assert_allclose(dropped, expected.transpose(0, 2, 1, 3), rtol=1e-12)
    assert 0 < (dropped == 0).mean() < 0.5


def test_a_window_holds_at_least_the_query_itself() -> None:
    with pytest.raises(ValueError, match="window"):
        DotProductAttention(1.0, False, 0)
