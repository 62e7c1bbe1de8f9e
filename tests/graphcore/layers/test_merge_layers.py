"""Merging: shapes that fit, masks, wrong inputs, functional names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore import layers

A = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
B = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", A + B),
        ("subtract", A - B),
        ("multiply", A * B),
        ("average", (A + B) / 2),
        ("maximum", np.maximum(A, B)),
        ("minimum", np.minimum(A, B)),
        ("concatenate", np.concatenate([A, B], -1)),
        ("dot", (A * B).sum(-1, keepdims=True)),
    ],
)
def test_functional_names(name, expected):
    np.testing.assert_allclose(getattr(layers, name)([A, B]), expected, rtol=1e-6)
    symbolic = getattr(layers, name)([layers.Input((3,)), layers.Input((3,))])
    assert symbolic.shape == (None, *expected.shape[1:])


def test_lower_ranks_get_axes_after_the_batch():
    x = np.random.default_rng(2).normal(size=(4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(layers.Add()([x, A]), x + A[:, None], rtol=1e-6)


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.data(),
)
def test_dot_is_a_batched_tensordot(one, other, data):
    first, second = data.draw(st.integers(0, len(one) - 1)), data.draw(st.integers(0, len(other) - 1))
    other[second] = one[first]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, *one)), rng.normal(size=(2, *other))
    expected = np.stack([np.tensordot(a, b, (first, second)) for a, b in zip(x, y, strict=True)])
    result = layers.Dot((first + 1, second + 1), dtype="float64")([x, y])
    np.testing.assert_allclose(result, expected.reshape(result.shape), rtol=1e-6, atol=1e-9)
    assert result.ndim == max(expected.ndim, 2)


def test_masks_are_joined_with_or():
    one, other = np.array([[1, 2, 0]]), np.array([[1, 0, 0]])
    embed = layers.Embedding(3, 4, mask_zero=True)
    masked = [embed(layers.Input((3,), dtype="int32")) for _ in range(2)]
    added = layers.Add()(masked)
    assert added.keras_mask.shape == (None, 3)
    plain = layers.Add()([masked[0], layers.Input((3, 4))])
    assert plain.keras_mask is None
    average = layers.GlobalAveragePooling1D()

    class Both(layers.Layer):
        def build(self, input_shape):
            self.embed = embed

        def call(self, inputs):
            return average(layers.Add()([embed(x) for x in inputs]))

    table = np.asarray(embed.embeddings)
    expected = (table[one[0, :2]] + table[other[0, :2]]).mean(0)
    np.testing.assert_allclose(Both()([one, other])[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: layers.Add()(A), "list of at least 1 inputs"),
        (lambda: layers.Subtract()([A, B, A]), "exactly 2"),
        (lambda: layers.Add()([A, B[:, :2]]), "incompatible shapes: on axis 1"),
        (lambda: layers.Concatenate()([A, B[:3]]), "must match on all axes"),
        (lambda: layers.Concatenate(axis=2)([A, B]), "above the axis"),
        (lambda: layers.Dot(0)([A, B]), "batch axis 0"),
        (lambda: layers.Dot(1)([A, B[:, :2]]), "extents of the summed axes differ"),
        (lambda: layers.Dot((1, 2, 3)), "pair"),
    ],
)
def test_wrong_inputs(action, message):
    with pytest.raises(ValueError, match=message):
        action()
