"""Masks: which layers keep, change, end or destroy them, and that they reach the loss and the metrics."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from graphcore import Input, Model, Sequential, layers
from graphcore.optimizers import SGD

L = layers
KEEP = {
    "Activation": lambda e: L.Activation("relu")(e),
    "ActivityRegularization": lambda e: L.ActivityRegularization()(e),
    "Add": lambda e: L.Add()([e, e]),
    "AlphaDropout": lambda e: L.AlphaDropout(0.5)(e),
    "BatchNormalization": lambda e: L.BatchNormalization()(e),
    "Bidirectional": lambda e: L.Bidirectional(L.LSTM(2, return_sequences=True))(e),
    "Concatenate": lambda e: L.Concatenate()([e, e]),
    "Concatenate steps": lambda e: L.Concatenate(axis=1)([e, e]),
    "Dense": lambda e: L.Dense(3)(e),
    "Dropout": lambda e: L.Dropout(0.5)(e),
    "ELU": lambda e: L.ELU()(e),
    "GRU": lambda e: L.GRU(2, return_sequences=True)(e),
    "GaussianDropout": lambda e: L.GaussianDropout(0.5)(e),
    "GaussianNoise": lambda e: L.GaussianNoise(0.5)(e),
    "GroupNormalization": lambda e: L.GroupNormalization(2)(e),
    "Identity": lambda e: L.Identity()(e),
    "LayerNormalization": lambda e: L.LayerNormalization()(e),
    "LeakyReLU": lambda e: L.LeakyReLU()(e),
    "Masking": lambda e: L.Masking(2.0)(e),
    "Multiply": lambda e: L.Multiply()([e, e]),
    "PReLU": lambda e: L.PReLU()(e),
    "ReLU": lambda e: L.ReLU()(e),
    "Rescaling": lambda e: L.Rescaling(2.0)(e),
    "Sequential": lambda e: Sequential([L.Dense(3), L.Dense(2)])(e),
    "Softmax": lambda e: L.Softmax()(e),
    "SpatialDropout1D": lambda e: L.SpatialDropout1D(0.5)(e),
    "TimeDistributed": lambda e: L.TimeDistributed(L.Dense(2))(e),
    "UnitNormalization": lambda e: L.UnitNormalization()(e),
}
END = {  # they use it up, and say nothing
    "Bidirectional": lambda e: L.Bidirectional(L.LSTM(2))(e),
    "Dot": lambda e: L.Dot(axes=2)([e, e]),
    "GlobalAveragePooling1D": lambda e: L.GlobalAveragePooling1D()(e),
    "LSTM": lambda e: L.LSTM(2)(e),
    "Sequential": lambda e: Sequential([L.Dense(3), L.GRU(2)])(e),
}
DESTROY = {  # they warn
    "Conv1D": lambda e: L.Conv1D(2, 2)(e),
    "Conv1DTranspose": lambda e: L.Conv1DTranspose(2, 2)(e),
    "Cropping1D": lambda e: L.Cropping1D()(e),
    "DepthwiseConv1D": lambda e: L.DepthwiseConv1D(2)(e),
    "Flatten": lambda e: L.Flatten()(e),
    "GlobalMaxPooling1D": lambda e: L.GlobalMaxPooling1D()(e),
    "Lambda": lambda e: L.Lambda(lambda x: x * 2)(e),
    "MaxPooling1D": lambda e: L.MaxPooling1D()(e),
    "Permute": lambda e: L.Permute((2, 1))(e),
    "RMSNormalization": lambda e: L.RMSNormalization()(e),
    "Reshape": lambda e: L.Reshape((4, 6))(e),
    "SeparableConv1D": lambda e: L.SeparableConv1D(2, 2)(e),
    "Sequential": lambda e: Sequential([L.Dense(3), L.Conv1D(2, 2)])(e),
    "UpSampling1D": lambda e: L.UpSampling1D()(e),
    "ZeroPadding1D": lambda e: L.ZeroPadding1D()(e),
}


def masked() -> Any:
    return L.Masking()(Input((6, 4)))


@pytest.mark.parametrize("name", KEEP)
def test_layers_that_keep_masks(name: str) -> None:
    assert KEEP[name](masked())._keras_mask is not None


@pytest.mark.parametrize("name", END)
def test_layers_that_end_masks(name: str) -> None:
    assert END[name](masked())._keras_mask is None


@pytest.mark.parametrize("name", DESTROY)
def test_layers_that_destroy_masks_warn(name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = DESTROY[name](masked())
    assert result._keras_mask is None
    assert [str(entry.message).count("does not support masking") for entry in caught] == [1]


def test_states_have_no_mask() -> None:
    outputs = L.LSTM(2, return_sequences=True, return_state=True)(masked())
    assert [tensor._keras_mask is not None for tensor in outputs] == [True, False, False]
    both = L.Bidirectional(L.GRU(2, return_sequences=True, return_state=True), merge_mode=None)(masked())
    assert [tensor._keras_mask is not None for tensor in both] == [True, True, False, False]
    stacked = L.RNN([L.GRUCell(2), L.LSTMCell(2)], return_sequences=True, return_state=True)(masked())
    assert stacked[0]._keras_mask is not None


def test_a_layer_of_a_user_keeps_masks_if_it_says_how() -> None:
    class Says(layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

        def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
            return previous_mask

    class Supports(layers.Layer):
        supports_masking = True

        def call(self, x: Any) -> Any:
            return x * 2

    assert Says()(masked())._keras_mask is not None
    assert Supports()(masked())._keras_mask is not None


# -- numbers -----------------------------------------------------------------------------------------------

X = np.array([[3, 1, 4, 0, 0], [1, 5, 0, 0, 0], [9, 2, 6, 5, 3]], np.int32)
Y = np.array([[0, 1, 1, 0, 0], [1, 0, 1, 1, 1], [1, 1, 0, 0, 1]], np.int32)


def numbers_of_mask(layer: Any, *inputs: Any) -> np.ndarray:
    """The mask of what a layer gives, as numbers: a layer that asks for it shows it."""

    class Show(layers.Layer):
        supports_masking = True

        def call(self, x: Any, mask: Any = None) -> Any:
            return mask

    symbols = [Input(x.shape[1:], dtype=x.dtype) for x in inputs]
    return Model(symbols, Show()(layer(*symbols))).predict(list(inputs), verbose=0)


def test_embedding_masks_zeros() -> None:
    np.testing.assert_array_equal(numbers_of_mask(L.Embedding(10, 2, mask_zero=True), X), X != 0)


def test_masking_masks_steps_of_one_value_and_zeroes_them() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(np.float32)
    x[0, 1] = 7.0
    x[1, 2, 0] = 7.0
    expected = np.array([[True, False, True], [True, True, True]])
    np.testing.assert_array_equal(numbers_of_mask(L.Masking(7.0), x), expected)
    np.testing.assert_array_equal(L.Masking(7.0)(x), np.where(expected[:, :, None], x, 0))


def test_merges_join_masks_with_or_and_concatenate_side_by_side() -> None:
    other = np.where(X == 0, 3, np.where(X == 1, 0, X)).astype(np.int32)

    def merged(merge: Any) -> Any:
        table = L.Embedding(10, 2, mask_zero=True)
        return lambda a, b: merge([table(a), table(b)])

    np.testing.assert_array_equal(numbers_of_mask(merged(L.Add()), X, other), (X != 0) | (other != 0))
    np.testing.assert_array_equal(
        numbers_of_mask(merged(L.Concatenate(axis=1)), X, other), np.concatenate([X != 0, other != 0], 1)
    )


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("name", ["Maximum", "Minimum", "Multiply"])
def test_masked_entries_do_not_count_in_merges(name: str, jit: bool) -> None:
    """Sides that a mask excludes leave the other's value; where none is valid, the first's, or 0 in a product."""
    one = np.array([[1, 2, 0, 0]], np.int32)
    other = np.array([[2, 0, 1, 0]], np.int32)
    tables = [L.Embedding(3, 2, mask_zero=True), L.Embedding(3, 2, mask_zero=True)]
    inputs = [Input((4,), dtype="int32"), Input((4,), dtype="int32")]
    merged = getattr(L, name)()([table(x) for table, x in zip(tables, inputs, strict=True)])
    model = Model(inputs, merged)
    for table, seed in zip(tables, (0, 1), strict=True):
        table.set_weights([np.random.default_rng(seed).normal(size=(3, 2)).astype(np.float32)])
    function = getattr(np, name.lower())
    a, b = (table.get_weights()[0] for table in tables)
    none = np.zeros(2, np.float32) if name == "Multiply" else a[0]
    expected = np.stack([function(a[1], b[2]), a[2], b[1], none])[None]
    model.compile(SGD(1.0), "mean_squared_error", jit=jit)
    np.testing.assert_allclose(model.predict([one, other], verbose=0), expected, rtol=1e-6)
    # Row 2 of the first table is read where it alone is valid; the loss is a mean over the three valid steps.
    model.train_on_batch([one, other], np.zeros_like(expected))
    np.testing.assert_allclose(tables[0].get_weights()[0][2], a[2] - a[2] / 3, rtol=1e-5)


def test_merges_follow_the_masks_of_three_inputs_in_turn() -> None:
    """Once an input without a mask has joined, the combination counts everywhere; as Keras 3.15 computes it."""
    x = np.array([[1, 0, 1, 0]], np.int32)
    y = np.array([[1, 1, 0, 0]], np.int32)
    tables = [L.Embedding(2, 1, mask_zero=zero) for zero in (True, False, True)]
    for table, rows in zip(tables, ([5.0, 1.0], [2.0, 3.0], [9.0, 4.0]), strict=True):
        table.build()
        table.set_weights([np.array(rows, np.float32)[:, None]])
    symbols = [Input((4,), dtype="int32") for _ in range(2)]
    first, second, third = (tables[i](symbols[n]) for i, n in enumerate((0, 1, 1)))

    def values(merge: Any) -> list[float]:
        found = Model(symbols, merge([first, second, third])).predict([x, y], verbose=0)
        return list(found[0, :, 0])

    assert values(L.Maximum()) == [4.0, 4.0, 2.0, 2.0]
    assert values(L.Minimum()) == [1.0, 3.0, 1.0, 2.0]
    assert values(L.Multiply()) == [12.0, 12.0, 2.0, 2.0]


def test_average_of_valid_steps() -> None:
    table = L.Embedding(10, 2, mask_zero=True)
    x = np.concatenate([X, np.zeros((1, 5), np.int32)])
    model = Sequential([Input((None,), dtype="int32"), table, L.GlobalAveragePooling1D()])
    found = model.predict(x, verbose=0)
    rows = table.get_weights()[0]
    for values, row in zip(found, x[:3], strict=False):
        np.testing.assert_allclose(values, rows[row[row != 0]].mean(0), rtol=1e-5)
    assert np.isnan(found[3]).all()


@pytest.mark.parametrize("jit", [True, False])
def test_the_mask_of_the_predictions_reaches_loss_and_metrics(jit: bool) -> None:
    model = Sequential(
        [
            Input((None,), dtype="int32"),
            L.Embedding(10, 4, mask_zero=True),
            L.Bidirectional(L.GRU(3, return_sequences=True)),
            L.Dropout(0.0),
            L.TimeDistributed(L.Dense(2, activation="softmax")),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], jit=jit)
    predictions = model.predict(X, verbose=0).astype(np.float64)
    valid = X != 0
    chosen = np.take_along_axis(predictions, Y[..., None], -1)[..., 0]
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(loss, -np.log(chosen[valid]).mean(), rtol=1e-5)
    np.testing.assert_allclose(accuracy, (predictions.argmax(-1) == Y)[valid].mean(), rtol=1e-6)
    # What stands in padding changes nothing.
    other = np.where(valid, Y, 1 - Y)
    np.testing.assert_array_equal(model.evaluate(X, other, verbose=0), [loss, accuracy])
    weight = model.get_weights()
    results = []
    for labels in (Y, other):
        model.set_weights(weight)
        model.train_on_batch(X, labels)
        results.append(model.get_weights())
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)
