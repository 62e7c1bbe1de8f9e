"""Reductions, shapes, indexing, order and creation against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import ops
from graphcore.layers import Input
from graphcore.tracing import Trace

RNG = np.random.default_rng(11)
X = RNG.normal(size=(4, 3, 5)).astype(np.float32)
AXES = [None, 0, 1, -1, (0, 2), (1, 2)]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "var", "std", "all", "any", "amax", "amin"])
def test_reductions(name, axis, keepdims, three_ways):
    expected = getattr(np, name)(X.astype(np.float64), axis=axis, keepdims=keepdims)
    expected = expected if name in ("all", "any") else np.asarray(expected, np.float32)
    three_ways(lambda x: getattr(ops, name)(x, axis=axis, keepdims=keepdims), (X,), expected, batch=4, tolerance=1e-5)


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_positions_of_extremes_are_the_first_and_int32(axis, three_ways):
    x = np.round(X)
    three_ways(lambda t: ops.argmax(t, axis), (x,), np.asarray(np.argmax(x, axis), np.int32), batch=4)
    three_ways(lambda t: ops.argmin(t, axis), (x,), np.asarray(np.argmin(x, axis), np.int32), batch=4)


def test_integer_sums_keep_or_widen_their_type(three_ways):
    for dtype, expected in [("int32", "int32"), ("bool", "int32"), ("int8", "int32"), ("uint8", "uint32")]:
        x = np.ones((2, 3), dtype)
        three_ways(lambda t: ops.sum(t, axis=1), (x,), np.full(2, 3, expected))
    three_ways(ops.mean, (np.arange(6, dtype=np.int32),), np.float32(2.5))
    three_ways(lambda t: ops.count_nonzero(t, axis=0), (np.eye(3, dtype=np.float32),), np.ones(3, np.int32))


def test_logsumexp_norm_average_cumsum(three_ways):
    big = X * 100
    expected = np.log(np.sum(np.exp(big.astype(np.float64) - big.max()), axis=1)) + big.max()
    three_ways(lambda x: ops.logsumexp(x, axis=1), (big,), expected.astype(np.float32), batch=4, tolerance=1e-5)
    for order in (None, 1, 2, 3, np.inf):
        three_ways(
            lambda x, order=order: ops.norm(x, ord=order, axis=-1),
            (X,),
            np.linalg.norm(X, order, -1).astype(np.float32),
            batch=4,
            tolerance=1e-5,
        )
    weights = np.array([1.0, 2.0, 3.0], np.float32)
    three_ways(
        lambda x: ops.average(x, axis=1, weights=weights),
        (X,),
        np.average(X, 1, weights).astype(np.float32),
        batch=4,
        tolerance=1e-5,
    )
    three_ways(lambda x: ops.cumsum(x, axis=1), (X,), np.cumsum(X, 1), batch=4, tolerance=1e-5)
    three_ways(lambda x: ops.cumprod(x, axis=-1), (X,), np.cumprod(X, -1), batch=4, tolerance=1e-5)


@given(n=st.integers(1, 40), seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_cumsum_of_any_length(n, seed):
    x = np.random.default_rng(seed).integers(-5, 5, n).astype(np.int32)
    np.testing.assert_array_equal(ops.cumsum(x), np.cumsum(x))


SHAPING = {
    "reshape": (lambda m, x: m.reshape(x, (-1, 5)), 4),
    "transpose": (lambda m, x: m.transpose(x, (2, 0, 1)), 4),
    "reversed axes": (lambda m, x: m.transpose(x), 4),
    "expand_dims": (lambda m, x: m.expand_dims(x, 1), 4),
    "squeeze": (lambda m, x: m.squeeze(m.expand_dims(x, -1), -1), 4),
    "ravel": (lambda m, x: m.ravel(x), 4),
    "moveaxis": (lambda m, x: m.moveaxis(x, 0, -1), 4),
    "moveaxis two": (lambda m, x: m.moveaxis(x, (0, 1), (-1, 0)), 4),
    "swapaxes": (lambda m, x: m.swapaxes(x, 1, 2), 4),
    "flip": (lambda m, x: m.flip(x, 1), 4),
    "flip all": (lambda m, x: m.flip(x), 4),
    "roll": (lambda m, x: m.roll(x, 2, 1), 4),
    "roll back": (lambda m, x: m.roll(x, -1, 2), 4),
    "roll two": (lambda m, x: m.roll(x, (1, -2), (1, 2)), 4),
    "roll two as one": (lambda m, x: m.roll(x, 2, (1, 2)), 4),
    "roll flat": (lambda m, x: m.roll(x, 3), None),
    "repeat": (lambda m, x: m.repeat(x, 2, 1), 4),
    "repeat each": (lambda m, x: m.repeat(x, [2, 0, 3], 1), 4),
    "repeat each by one": (lambda m, x: m.repeat(x, [2], 1), 4),
    "repeat flat": (lambda m, x: m.repeat(x, 2), 4),
    "tile": (lambda m, x: m.tile(x, (2, 1, 3)), 4),
    "concatenate": (lambda m, x: m.concatenate([x, x], 1), 4),
    "stack": (lambda m, x: m.stack([x, x], -1), 4),
    "append": (lambda m, x: m.append(x, x, 1), 4),
    "vstack": (lambda m, x: m.vstack([x, x]), 4),
    "hstack": (lambda m, x: m.hstack([x, x]), 4),
    "split": (lambda m, x: m.split(x, 5, -1), 4),
    "split at": (lambda m, x: m.split(x, [1, 3], -1), 4),
    "pad": (lambda m, x: m.pad(x, ((0, 0), (1, 2), (0, 1))), 4),
    "pad reflect": (lambda m, x: m.pad(x, ((0, 0), (1, 2), (2, 0)), "reflect"), 4),
    "pad symmetric": (lambda m, x: m.pad(x, ((0, 0), (3, 2), (2, 1)), "symmetric"), 4),
    "pad edge": (lambda m, x: m.pad(x, ((0, 0), (2, 0), (1, 3)), "edge"), 4),
    "triu": (lambda m, x: m.triu(x, 1), 4),
    "tril": (lambda m, x: m.tril(x, -1), 4),
    "diagonal": (lambda m, x: m.diagonal(x, 1, 1, 2), 4),
    "take": (lambda m, x: m.take(x, np.array([[0, 2], [1, 1]]), axis=1), 4),
    "take one": (lambda m, x: m.take(x, -2, axis=1), 4),
    "take flat": (lambda m, x: m.take(x, np.array([3, 0, 7])), None),
    "sort": (lambda m, x: m.sort(x, 1), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPING)
def test_shaping(name, three_ways):
    function, batch = SHAPING[name]
    expected = function(np, X)
    expected = list(expected) if isinstance(expected, list) else expected
    three_ways(lambda x: function(ops, x), (X,), expected, batch=batch)


INDICES = [
    0, -1, slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(-2, None), (slice(None), 1),
    (slice(None), slice(0, 2), -1), (Ellipsis, 2), (Ellipsis, None), (None, 0), (slice(None), None, 2),
    (slice(None), np.array([0, 2, 2])), (Ellipsis, np.array([[0], [4]])), (slice(None), slice(5, 1, -2)),
]  # fmt: skip


@pytest.mark.parametrize("key", INDICES, ids=str)
def test_indexing(key, three_ways):
    three_ways(lambda x: ops.get_item(x, key), (X,), X[key])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_slice_is_numpys(data):
    bound = st.none() | st.integers(-7, 7)
    step = data.draw(st.sampled_from([None, 1, 2, 3, -1, -2]))
    key = tuple(slice(data.draw(bound), data.draw(bound), step) for _ in range(2))
    np.testing.assert_array_equal(ops.get_item(X, key), X[key])


def test_indexing_errors_say_what_is_wrong():
    x = Input((3, 5))
    with pytest.raises(IndexError, match="out of bounds for axis 1 with extent 3"):
        x[:, 3]
    with pytest.raises(IndexError, match=r"Too many indices \(4\)"):
        x[0, 0, 0, 0]
    with pytest.raises(TypeError, match="must hold integers"):
        x[x > 0]
    with pytest.raises(TypeError, match="indexed by integers"):
        x["a"]
    with pytest.raises(TypeError, match=r"ops\.slice"):
        x[x[0, 0, 0] :]


def test_take_along_axis_and_slice(three_ways):
    order = np.argsort(X, axis=1).astype(np.int32)
    three_ways(lambda x, i: ops.take_along_axis(x, i, 1), (X, order), np.take_along_axis(X, order, 1), batch=4)
    three_ways(lambda x: ops.slice(x, (1, 0, 2), (2, 3, 3)), (X,), X[1:3, 0:3, 2:5])
    start = np.array([1, 0, 2], np.int32)
    three_ways(lambda x, s: ops.slice(x, s, (2, 3, 3)), (X, start), X[1:3, 0:3, 2:5])


def test_repeat_needs_a_number_for_each_entry():
    with pytest.raises(ValueError, match=r"one for each of the 5 entries of axis 2"):
        ops.repeat(X, [1, 2, 3], axis=2)


@pytest.mark.parametrize(("dtype", "outside"), [("float32", np.nan), ("int32", -(2**31)), ("uint8", 255)])
def test_take_along_axis_gives_outside_of_the_axis_what_take_gives(three_ways, dtype, outside):
    x = np.arange(1, 7).reshape(2, 3).astype(dtype)
    places = np.array([[0, 3, -1], [-4, 2, 1]], np.int32)
    expected = np.array([[1, outside, 3], [outside, 6, 5]]).astype(dtype)
    three_ways(lambda t, i: ops.take_along_axis(t, i, 1), (x, places), expected, batch=2)
    assert np.array_equal(ops.take(x[0], [0, 3, -1]), expected[0], equal_nan=dtype == "float32")


def test_order_of_truth_values():
    x = np.array([[False, True, False], [True, True, False]])
    np.testing.assert_array_equal(ops.sort(x), np.sort(x))
    values, positions = ops.top_k(x, 2)
    assert values.tolist() == [[True, False], [True, True]]
    assert positions.tolist() == [[1, 0], [0, 1]]


@given(n=st.integers(1, 12), seed=st.integers(0, 3), ties=st.booleans())
@settings(max_examples=30, deadline=None)
def test_order_of_any_row(n, seed, ties):
    x = np.random.default_rng(seed).normal(size=(3, n)).astype(np.float32)
    x = np.round(x) if ties else x
    np.testing.assert_array_equal(ops.sort(x), np.sort(x))
    np.testing.assert_array_equal(ops.argsort(x), np.argsort(x, kind="stable"))
    k = (n + 1) // 2
    values, positions = ops.top_k(x, k)
    expected = np.argsort(-x, kind="stable")[:, :k]
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, 1))


def test_nan_sorts_last():
    x = np.array([2.0, np.nan, 1.0, np.nan], np.float32)
    np.testing.assert_array_equal(ops.argsort(x), np.argsort(x, kind="stable"))
    with pytest.raises(ValueError, match=r"k must lie in 0\.\.4"):
        ops.top_k(x, 5)


def test_in_top_k():
    scores = np.array([[0.1, 0.9, 0.0], [0.5, 0.5, 0.2], [0.3, 0.2, np.nan]], np.float32)
    assert ops.in_top_k(np.array([1, 0, 0]), scores, 1).tolist() == [True, True, True]
    assert ops.in_top_k(np.array([0, 1, 1]), scores, 1).tolist() == [False, True, False]
    assert ops.in_top_k(np.array([5, -1, 2]), scores, 3).tolist() == [False, False, False]


def test_one_hot_and_multi_hot(three_ways):
    x = np.array([0, 2, 5], np.int32)
    expected = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    three_ways(lambda t: ops.one_hot(t, 3), (x,), expected, batch=3)
    three_ways(lambda t: ops.one_hot(t, 3, axis=0, dtype="int32"), (x,), expected.T.astype(np.int32), batch=3)
    rows = np.array([[0, 0, 2], [1, 1, 1]], np.int32)
    three_ways(lambda t: ops.multi_hot(t, 3), (rows,), np.array([[1, 0, 1], [0, 1, 0]], np.float32), batch=2)


@pytest.mark.parametrize("axis", [-1, 0, 1, 2])
def test_multi_hot_joins_the_one_hot_vectors_of_axis_1(three_ways, axis):
    """As Keras 3.15: multi_hot(x (2, 3, 4), 6) has shape (2, 4, 6)."""
    rows = np.random.default_rng(0).integers(-1, 6, (2, 3, 4)).astype(np.int32)
    single = np.moveaxis((rows[..., None] == np.arange(6)).astype(np.int32), -1, axis)
    three_ways(lambda t: ops.multi_hot(t, 6, axis=axis, dtype="int32"), (rows,), single.max(1), batch=None)


def test_creation():
    np.testing.assert_array_equal(ops.eye(3, 4, 1), np.eye(3, 4, 1))
    np.testing.assert_array_equal(ops.tri(3, k=-1), np.tri(3, k=-1))
    np.testing.assert_array_equal(ops.arange(2, 9, 3), np.arange(2, 9, 3))
    assert ops.arange(3).dtype == np.int32
    assert ops.arange(0.5, 2).dtype == np.float32
    np.testing.assert_allclose(ops.linspace(0, 1, 7), np.linspace(0, 1, 7), rtol=1e-6)
    bounds = ([0.0, 1.0], [2.0, 5.0])
    np.testing.assert_allclose(ops.linspace(*bounds, 4, axis=-1), np.linspace(*bounds, 4, axis=-1), rtol=1e-6)
    assert ops.zeros((2, 3)).dtype == np.float32
    np.testing.assert_array_equal(ops.full((2, 2), 7, "int32"), np.full((2, 2), 7))
    np.testing.assert_array_equal(ops.identity(3), np.eye(3))
    for mine, theirs in zip(
        ops.meshgrid(np.arange(3), np.arange(2)), np.meshgrid(np.arange(3), np.arange(2)), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_symbolic_sizes_may_be_computed_with():
    with Trace("t") as trace:
        x = trace.input("x", (None, 4))
        batch, features = ops.shape(x)
        zeros = ops.zeros((batch, features * 2))
        both = ops.concatenate([x, zeros], axis=1)
        mean = ops.sum(x, axis=0) / batch
        ramp = ops.arange(batch)
        flat = ops.reshape(x, (batch * 2, -1))
    from compiler.interpret import interpret

    outputs = {"both": both, "mean": mean, "ramp": ramp, "flat": flat}
    graph, _ = trace.finish(outputs)
    data = RNG.normal(size=(6, 4)).astype(np.float32)
    got, _ = interpret(graph, [data])
    np.testing.assert_array_equal(got[0], np.concatenate([data, np.zeros((6, 8), np.float32)], 1))
    np.testing.assert_allclose(got[1], data.mean(0), rtol=1e-6)
    np.testing.assert_array_equal(got[2], np.arange(6))
    np.testing.assert_array_equal(got[3], data.reshape(12, 2))


EINSUMS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("bqd,bkd->bqk", [(2, 3, 4), (2, 5, 4)]), ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]), ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("i,j->ij", [(2,), (3,)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)]), ("abc,cd,de->abe", [(2, 3, 4), (4, 5), (5, 6)]),
    ("i,i,i", [(4,), (4,), (4,)]), ("ab,ac->", [(2, 3), (2, 4)]), ("bhwc,hkc->bwhk", [(2, 3, 4, 5), (3, 6, 5)]),
    ("ji,jk", [(3, 2), (3, 4)]), ("a,b,ab->b", [(3,), (4,), (3, 4)]),
]  # fmt: skip


@pytest.mark.parametrize(("subscripts", "shapes"), EINSUMS)
def test_einsum(subscripts, shapes, three_ways):
    arrays = tuple(RNG.normal(size=shape).astype(np.float32) for shape in shapes)
    expected = np.asarray(np.einsum(subscripts, *(a.astype(np.float64) for a in arrays)), np.float32)
    three_ways(lambda *xs: ops.einsum(subscripts, *xs), arrays, expected, tolerance=1e-5)


def test_einsum_errors_name_the_subscripts():
    with pytest.raises(ValueError, match="names 2 operand"):
        ops.einsum("ij,jk->ik", X)
    with pytest.raises(ValueError, match="does not fit an operand with 3 axes"):
        ops.einsum("ij->i", X)


def test_products(three_ways):
    a, b = RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=(3, 5)).astype(np.float32)
    three_ways(ops.matmul, (a, b), a @ b, batch=4, tolerance=1e-5)
    three_ways(ops.dot, (a, b), a @ b, batch=4, tolerance=1e-5)
    three_ways(
        lambda x, y: ops.tensordot(x, y, 1),
        (X, np.ones((5, 2), np.float32)),
        np.tensordot(X, np.ones((5, 2)), 1).astype(np.float32),
        batch=4,
        tolerance=1e-5,
    )
    three_ways(ops.outer, (a[0], b[0]), np.outer(a[0], b[0]))
    three_ways(ops.inner, (a, a), np.inner(a, a), tolerance=1e-5)
