"""Attention layers: masks rule by rule, what the compiler is given, arguments, saving, dropout, types."""

import re

import numpy as np
import pytest

import graphcore
from graphcore import layers, ops
from graphcore.tracing import Trace

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 5, 6)).astype(np.float32)
MEMORY = RNG.normal(size=(2, 4, 6)).astype(np.float32)


def scores_of(layer, query, value, **masks):
    """The attention weights (batch, heads, queries, keys)."""
    return layer(query, value, return_attention_scores=True, **masks)[1]


def made():
    return [layers.MultiHeadAttention(2, 3), layers.GroupQueryAttention(3, 4, 2)]


@pytest.mark.parametrize("layer", made())
class TestMasks:
    """KERAS.md D.5: query, key, value, causal and attention masks are combined with AND."""

    def test_query_mask(self, layer):
        mask = np.array([[True] * 5, [True, False, True, True, False]])
        seen = scores_of(layer, X, MEMORY, query_mask=mask)
        assert (seen[~mask.repeat(seen.shape[1], 0).reshape(2, -1, 5)] == 0).all()
        assert (seen.sum(-1)[:, 0][mask] > 0.999).all()

    @pytest.mark.parametrize("name", ["value_mask", "key_mask"])
    def test_value_and_key_mask(self, layer, name):
        mask = np.array([[True, False, True, True], [False, True, True, False]])
        seen = scores_of(layer, X, MEMORY, **{name: mask})
        assert ((seen > 0) == mask[:, None, None, :]).all()
        changed = np.where(mask[..., None], MEMORY, 7)
        np.testing.assert_array_equal(layer(X, changed, **{name: mask}), layer(X, MEMORY, **{name: mask}))

    def test_causal(self, layer):
        seen = scores_of(layer, X, X, use_causal_mask=True)
        assert ((seen > 0) == np.tri(5, dtype=bool)).all()
        later = X.copy()
        later[:, 3:] = 9
        expected = layer(X, X, use_causal_mask=True)[:, :3]
        np.testing.assert_array_equal(layer(later, later, use_causal_mask=True)[:, :3], expected)

    def test_attention_mask(self, layer):
        mask = RNG.random((2, 5, 4)) < 0.6
        mask[..., 0] = True
        assert ((scores_of(layer, X, MEMORY, attention_mask=mask) > 0) == mask[:, None]).all()

    def test_attention_mask_with_heads(self, layer):
        """It has an axis more than the masks of positions, which it is joined with."""
        heads = scores_of(layer, X, MEMORY).shape[1]
        key = np.array([[True, False, True, True], [True, True, True, False]])
        query = np.array([[True] * 5, [True, False, True, True, False]])
        pairs = RNG.random((2, heads, 5, 4)) < 0.6
        pairs[..., 0] = True
        every = pairs & key[:, None, None, :] & query[:, None, :, None]
        assert ((scores_of(layer, X, MEMORY, key_mask=key, query_mask=query, attention_mask=pairs) > 0) == every).all()
        pairs = RNG.random((2, heads, 5, 5)) < 0.6
        seen = scores_of(layer, X, X, attention_mask=pairs, use_causal_mask=True)
        assert ((seen > 0) == pairs & np.tri(5, dtype=bool)).all()

    def test_all_with_and(self, layer):
        query = np.array([[True] * 5, [True, True, True, False, True]])
        key, value = RNG.random((2, 2, 5)) < 0.7
        pairs = RNG.random((2, 5, 5)) < 0.8
        every = query[..., None] & key[:, None] & value[:, None] & pairs & np.tri(5, dtype=bool)
        seen = scores_of(
            layer, X, X, query_mask=query, key_mask=key, value_mask=value, attention_mask=pairs, use_causal_mask=True
        )
        assert ((seen > 0) == every[:, None]).all()

    def test_keras_masks(self, layer):
        """Those of the inputs take the place of arguments that are left out; the query's goes on."""
        tokens, words = np.array([[1, 2, 0], [3, 0, 0]]), np.array([[0, 4, 5, 0], [6, 0, 7, 8]])
        table = layers.Embedding(9, 6, mask_zero=True)
        q, v = layers.Input((None,), dtype="int32"), layers.Input((None,), dtype="int32")
        layer = type(layer).from_config(layer.get_config())
        outputs = layer(table(q), table(v), return_attention_scores=True)
        pooled = layers.GlobalAveragePooling1D()(outputs[0])
        model = graphcore.Model([q, v], [outputs[0], outputs[1], pooled])
        found, seen, mean = model.predict([tokens, words], verbose=0)
        assert ((seen > 0) == ((tokens != 0)[:, None, :, None] & (words != 0)[:, None, None, :])).all()
        np.testing.assert_allclose(mean[0], found[0, :2].mean(0), rtol=1e-5)
        np.testing.assert_allclose(mean[1], found[1, 0], rtol=1e-5)


@pytest.mark.parametrize("heads", [2, 3])
def test_mask_with_heads_and_dropout(heads):
    """With dropout the scores are computed, without it they are not: the results are the same."""
    dropping, plain = layers.MultiHeadAttention(heads, 3, dropout=0.4, seed=1), layers.MultiHeadAttention(heads, 3)
    plain.build(X.shape, MEMORY.shape)
    dropping.build(X.shape, MEMORY.shape)
    dropping.set_weights(plain.get_weights())
    key = np.array([[True, False, True, True], [True, True, True, False]])
    pairs = RNG.random((2, heads, 5, 4)) < 0.6
    pairs[..., 0] = True
    masks = {"key_mask": key, "attention_mask": pairs}
    np.testing.assert_allclose(dropping(X, MEMORY, **masks), plain(X, MEMORY, **masks), rtol=1e-5, atol=1e-6)
    weights = dropping(X, MEMORY, training=True, return_attention_scores=True, **masks)[1]
    assert ((weights > 0) == pairs & key[:, None, None, :]).all()


def test_masks_of_attention_over_a_later_axis():
    layer = layers.MultiHeadAttention(2, 3, attention_axes=2)
    x = RNG.normal(size=(2, 4, 3, 6)).astype(np.float32)
    key = np.array([[True, False, True], [True, True, True]])
    pairs = RNG.random((2, 4, 3, 3)) < 0.7
    pairs[..., 0] = True
    seen = scores_of(layer, x, x, key_mask=key, attention_mask=pairs, use_causal_mask=True)
    every = pairs & key[:, None, None] & np.tri(3, dtype=bool)
    assert ((seen > 0) == every[:, :, None]).all()


def test_weights_can_be_trained_on_where_there_are_masks():
    """The weights are numbers with zeros where nothing is seen; they have no mask, which a loss could not take."""
    for layer in (layers.MultiHeadAttention(2, 3), layers.GroupQueryAttention(3, 4, 2)):
        query, pairs = graphcore.Input((3, 4)), graphcore.Input((3, 3), dtype="bool")
        outputs = layer(query, query, attention_mask=pairs, return_attention_scores=True)
        model = graphcore.Model([query, pairs], outputs[1])
        model.compile(optimizer="sgd", loss="mse")
        x = RNG.normal(size=(2, 3, 4)).astype(np.float32)
        mask = np.array([np.tri(3), np.eye(3)], dtype=bool)
        weights = model.predict([x, mask], verbose=0)
        target = RNG.normal(size=weights.shape).astype(np.float32)
        loss = model.train_on_batch([x, mask], target)
        np.testing.assert_allclose(loss, np.mean((weights - target) ** 2), rtol=1e-5)


def test_mask_of_attention_layers():
    """The query's mask zeroes results and goes on; the value's hides values."""
    for layer in (layers.Attention(), layers.AdditiveAttention()):
        query_mask = np.array([[True] * 5, [True, False, True, True, False]])
        value_mask = np.array([[True, False, True, True], [False, True, True, False]])
        outputs, seen = layer([X, MEMORY], mask=[query_mask, value_mask], return_attention_scores=True)
        assert (outputs[~query_mask] == 0).all()
        assert (outputs[query_mask] != 0).all()
        assert ((seen > 0) == value_mask[:, None]).all()
        np.testing.assert_allclose(layer([X, MEMORY], mask=[query_mask, value_mask]), outputs, rtol=1e-5, atol=1e-6)
        seen = layer([X, X], use_causal_mask=True, return_attention_scores=True)[1]
        assert ((seen > 0) == np.tri(5, dtype=bool)).all()
    tokens = layers.Input((None,), dtype="int32")
    embedded = layers.Embedding(9, 6, mask_zero=True)(tokens)
    attended = layers.Attention()([embedded, embedded])
    assert attended.keras_mask is not None


def traced_ops(layer, *shapes, **call):
    """The names of the ops that a call is traced to."""
    trace = Trace("layer")
    with trace:
        tensors = [trace.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
        outputs = {"y": layer(*tensors, **call)}
    graph, _ = trace.finish(outputs)
    return [node.op.name for node in graph.nodes]


def test_no_scores_and_no_transposes():
    """Projections are matrix products seen in other shapes, attention is one op with masks as rules."""
    for layer in made():
        found = traced_ops(layer, (None, None, 6), (None, None, 6), use_causal_mask=True)
        assert found.count("dot_product_attention") == 1
        assert found.count("matmul") == 4
        assert set(found) <= {"matmul", "reshape", "broadcast", "add", "dot_product_attention"}
    found = traced_ops(layers.MultiHeadAttention(2, 3, dropout=0.5), (None, 5, 6), (None, 5, 6), training=False)
    assert "softmax" not in found


def test_dropout():
    layer = layers.MultiHeadAttention(2, 8, dropout=0.5, seed=3)
    x = RNG.normal(size=(4, 32, 8)).astype(np.float32)
    still = layer(x, x)
    outputs, weights = layer(x, x, training=True, return_attention_scores=True)
    again = layer(x, x, training=True)
    assert np.abs(outputs - still).max() > 1e-3
    assert np.abs(outputs - again).max() > 1e-3
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)  # they are returned as they were before
    same = layers.MultiHeadAttention(2, 8, dropout=0.5, seed=3)
    same.build(x.shape, x.shape)
    same.set_weights(layer.get_weights())
    np.testing.assert_array_equal(same(x, x, training=True, return_attention_scores=True)[0], outputs)
    attention = layers.Attention(dropout=0.5, seed=1)
    _, weights = attention([x, x], training=True, return_attention_scores=True)
    assert 0.4 < (weights == 0).mean() < 0.6


@pytest.mark.parametrize(
    "layer",
    [
        layers.MultiHeadAttention(2, 3, value_dim=4, dropout=0.1, output_shape=5, use_bias=False, seed=1),
        layers.MultiHeadAttention(2, 3, kernel_regularizer="l2", use_gate=True, sliding_window=3),
        layers.GroupQueryAttention(3, 4, 2, bias_initializer="ones"),
    ],
)
def test_saving(layer, tmp_path):
    q, v = layers.Input((None, 6)), layers.Input((None, 3))
    model = graphcore.Model([q, v], layer(q, v))
    path = tmp_path / "model.keras"
    model.save(path)
    again = graphcore.saving.load_model(path)
    feed = [X, MEMORY[..., :3]]
    np.testing.assert_array_equal(again.predict(feed, verbose=0), model.predict(feed, verbose=0))
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]


@pytest.mark.parametrize("layer", [layers.Attention(use_scale=True, score_mode="concat"), layers.AdditiveAttention()])
def test_saving_attention(layer, tmp_path):
    q, v = layers.Input((None, 6)), layers.Input((None, 6))
    model = graphcore.Model([q, v], layer([q, v]))
    model.save(tmp_path / "model.keras")
    again = graphcore.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict([X, MEMORY], verbose=0), model.predict([X, MEMORY], verbose=0))


def test_initial_weights():
    """Each projection draws its own numbers; fans are those of the product."""
    layer = layers.MultiHeadAttention(4, 16)
    layer.build((None, 3, 100), (None, 3, 100))
    query, key = layer.query_dense.kernel.numpy(), layer.key_dense.kernel.numpy()
    assert not np.array_equal(query, key)
    limit = np.sqrt(6 / (100 + 64))
    assert 0.97 * limit < np.abs(query).max() <= limit


def test_float16():
    layer = layers.MultiHeadAttention(2, 8, dtype="mixed_float16")
    outputs = layer(X, X, use_causal_mask=True)
    assert outputs.dtype == np.float16
    wide = layers.MultiHeadAttention(2, 8)
    wide.build(X.shape, X.shape)
    wide.set_weights(layer.get_weights())
    np.testing.assert_allclose(outputs, wide(X, X, use_causal_mask=True), atol=5e-3)


@pytest.mark.parametrize(("equation", "output_shape", "bias_axes", "kernel", "bias"), [
    ("abc,cd->abd", (None, 2), "bd", (6, 2), (5, 2)),
    ("abc,bcd->abd", (None, 2), "d", (5, 6, 2), (2,)),
    ("abc,bc->abc", (None, None), "b", (5, 6), (5, 1)),
    ("...bc,bcd->...bd", (None, 2), "bd", (5, 6, 2), (5, 2)),
    ("ab...,bc->acb...", (3, None), "cb", (5, 3), (3, 5, 1)),
])  # fmt: skip
def test_extents_of_einsum_dense_that_are_the_inputs(equation, output_shape, bias_axes, kernel, bias):
    layer = layers.EinsumDense(equation, output_shape, bias_axes=bias_axes)
    layer.build((None, 5, 6))
    layer.bias.assign(RNG.normal(size=layer.bias.shape))
    assert (layer.kernel.shape, layer.bias.shape) == (kernel, bias)
    expected = np.einsum(equation, X, layer.kernel.numpy()) + layer.bias.numpy()
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5, atol=1e-6)


class TestErrors:
    def test_arguments(self):
        with pytest.raises(ValueError, match="num_heads"):
            layers.MultiHeadAttention(0, 4)
        with pytest.raises(ValueError, match="key_dim"):
            layers.MultiHeadAttention(2, -4)
        with pytest.raises(ValueError, match="attention_axes"):
            layers.MultiHeadAttention(2, 4, attention_axes="all")
        with pytest.raises(ValueError, match="attention_axes"):
            layers.MultiHeadAttention(2, 4, attention_axes=2)(X, X)
        with pytest.raises(ValueError, match="sliding_window"):
            layers.MultiHeadAttention(2, 4, sliding_window=0)
        with pytest.raises(ValueError, match="divisible"):
            layers.GroupQueryAttention(4, 3, 2)
        with pytest.raises(ValueError, match="score_mode"):
            layers.Attention(score_mode="product")

    def test_flash_attention(self):
        with pytest.raises(ValueError, match="flash"):
            layers.MultiHeadAttention(2, 4, dropout=0.1, flash_attention=True)
        with pytest.raises(ValueError, match="flash"):
            layers.MultiHeadAttention(2, 4, flash_attention=True)(X, X, return_attention_scores=True)

    def test_inputs(self):
        with pytest.raises(ValueError, match="must be equal"):
            layers.MultiHeadAttention(2, 4)(X, MEMORY, X)
        with pytest.raises(ValueError, match="list of inputs"):
            layers.Attention()(X)
        with pytest.raises(ValueError, match="positions, features"):
            layers.GroupQueryAttention(2, 2, 1)(X[0], X[0])

    @pytest.mark.parametrize("options", [{"use_causal_mask": True}, {"key_mask": np.ones((2, 4), bool)}])
    @pytest.mark.parametrize("pairs", [None, np.ones((2, 4, 3, 4, 3), bool)])
    def test_rules_on_positions_of_several_axes(self, options, pairs):
        x = RNG.normal(size=(2, 4, 3, 6)).astype(np.float32)
        with pytest.raises(ValueError, match=r"over one axis. Received: attention over 2 axes"):
            layers.MultiHeadAttention(2, 3)(x, x, attention_mask=pairs, **options)

    def test_soft_cap(self):
        q = np.ones((1, 2, 1, 4), np.float32)
        with pytest.raises(ValueError, match="attn_logits_soft_cap"):
            ops.dot_product_attention(q, q, q, attn_logits_soft_cap=1.0)

    def test_einsum_dense_extents(self):
        with pytest.raises(ValueError, match="needs to know the extents of the bias"):
            layers.EinsumDense("abc,cd->abd", (None, 2), bias_axes="bd").build((None, None, 6))
        with pytest.raises(ValueError, match="needs to know the extents of the kernel"):
            layers.EinsumDense("abc,bcd->abd", (None, 2)).build((None, None, 6))
        for equation, shape in (("abc,cd->abd", (None, 2)), ("...c,cd->...d", 2), ("ab...,bc->ac...", 2)):
            text = f"bias_axes='x' must be letters of the output of equation='{equation}'"
            with pytest.raises(ValueError, match=re.escape(text)):
                layers.EinsumDense(equation, shape, bias_axes="x")(X)

    def test_einsum_dense(self):
        with pytest.raises(ValueError, match="Invalid einsum equation"):
            layers.EinsumDense("abc->ab", 3)
        with pytest.raises(ValueError, match="bias_axes"):
            layers.EinsumDense("ab,bc->ac", 3, bias_axes="b")(X[0])
        with pytest.raises(ValueError, match="does not fit"):
            layers.EinsumDense("ab,bc->ac", 3)(X)
        with pytest.raises(ValueError, match="is 6 in the input and 4 in the output"):
            layers.EinsumDense("abc,bd->abcd", (5, 4, 3))(X)
        with pytest.raises(ValueError, match="no operand"):
            layers.EinsumDense("ab,bc->az", 3)(X[0])
        with pytest.raises(ValueError, match="neither in the input nor"):
            layers.EinsumDense("ab,bcz->ac", 3)(X[0])
