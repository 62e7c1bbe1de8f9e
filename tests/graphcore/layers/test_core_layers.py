"""Dense, reshaping, embedding, Lambda: behaviour and errors that the stored cases do not cover."""

import json

import numpy as np
import pytest

from graphcore import Sequential, constraints, identifiers, layers, ops, regularizers

X = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


def double(x):
    return 2 * x


def test_weight_arguments_reach_the_weights_and_the_configuration():
    layer = layers.Dense(
        3,
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer="l2",
        kernel_constraint=constraints.MaxNorm(3),
        activity_regularizer=regularizers.L1(0.5),
        bias_initializer="ones",
    )
    result = layer(X)
    assert isinstance(layer.kernel.regularizer, regularizers.L2)
    assert layer.kernel.constraint.max_value == 3
    np.testing.assert_array_equal(layer.bias.numpy(), 1.0)
    penalty, activity = 0.01 * (layer.kernel.numpy() ** 2).sum(), 0.5 * np.abs(result).sum() / len(X)
    np.testing.assert_allclose(sorted(map(float, layer.losses)), sorted([penalty, activity]), rtol=1e-5)
    config = json.loads(json.dumps(layer.get_config()))
    again = layers.Dense.from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config


def test_flatten_joins_symbolic_axes():
    assert layers.Flatten().compute_output_shape((None, 3, 4)) == (None, 12)
    assert layers.Flatten().compute_output_shape((None, None, 4)) == (None, None)
    assert layers.Flatten()(np.ones(5, np.float32)).shape == (5, 1)


def test_bilinear_enlargement_with_unknown_extents():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
    layer = layers.UpSampling2D((2, 3), interpolation="bilinear")
    assert layer.compute_output_shape((None, None, None, 2)) == (None, None, None, 2)
    first = layers.UpSampling2D((2, 3), "channels_first", "bilinear")(np.moveaxis(x, -1, 1))
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), layer(x), rtol=1e-6)
    # Straight lines stay straight away from the ends.
    ramp = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    enlarged = layers.UpSampling2D((4, 1), interpolation="bilinear")(ramp)[0, :, 0, 0]
    np.testing.assert_allclose(enlarged[2:-2], (np.arange(2, 14) + 0.5) / 4 - 0.5, rtol=1e-6)


def test_embedding_table_mask_and_types():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    layer = layers.Embedding(4, 3, weights=table, mask_zero=True)
    np.testing.assert_array_equal(layer(np.array([[1, 3]])), table[[[1, 3]]])
    np.testing.assert_array_equal(layer(np.array([[1.0, 3.0]], np.float32)), table[[[1, 3]]])
    assert layer(layers.Input((None,), dtype="int32")).keras_mask is not None
    assert np.abs(layers.Embedding(100, 8)(np.arange(100))).max() <= 0.05


def test_masking_sets_masked_steps_to_zero():
    x = np.array([[[1.0, 5.0], [5.0, 5.0]]], np.float32)
    np.testing.assert_array_equal(layers.Masking(5.0)(x), [[[1, 5], [0, 0]]])
    masked = layers.Masking()(layers.Input((None, 2)))
    assert masked.keras_mask.shape == (None, None)
    with pytest.warns(UserWarning, match="does not support masking"):
        layers.Flatten()(masked)


def test_softmax_leaves_masked_entries_out():
    mask = np.array([[True, False, True, True, False, True]] * 4)
    result = layers.Softmax()(X, mask=mask)
    exponent = np.where(mask, np.exp(X), 0)
    np.testing.assert_allclose(result, exponent / exponent.sum(-1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("mask", [[True, False, True], [[True, True, False]] * 4, [0.0, 0.7, 1.0]])
def test_a_mask_of_softmax_broadcasts_as_in_keras(mask):
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    exponent = np.where(np.greater(mask, 0.5), np.exp(x), 0)
    found = layers.Softmax()(x, mask=np.array(mask))
    np.testing.assert_allclose(found, exponent / exponent.sum(-1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4), (1, 2, 4, 3), (2, 4, 2)])
def test_a_mask_of_softmax_that_does_not_broadcast(shape):
    with pytest.raises(ValueError, match="must broadcast to the inputs"):
        layers.Softmax()(np.ones((2, 4, 3), np.float32), mask=np.ones(shape, bool))


def test_softmax_is_not_masked_by_steps():
    x = np.array([[[1.0, 2.0], [0.0, 0.0]]], np.float32)
    model = Sequential([layers.Input((None, 2)), layers.Masking(), layers.Softmax()])
    expected = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)


def test_rescaling_of_integers_and_channels():
    pixels = np.array([[0, 255]], np.uint8)
    np.testing.assert_allclose(layers.Rescaling(1 / 255)(pixels), [[0.0, 1.0]], rtol=1e-6)
    layer = layers.Rescaling([1.0, 2.0], offset=[0.0, -1.0])
    np.testing.assert_allclose(layer(pixels), [[0.0, 509.0]], rtol=1e-6)
    assert layers.Rescaling.from_config(layer.get_config()).get_config() == layer.get_config()


def test_activity_regularization_divides_by_the_batch():
    layer = layers.ActivityRegularization(l1=0.1, l2=0.2)
    np.testing.assert_array_equal(layer(X), X)
    assert float(layer.losses[0]) == pytest.approx((0.1 * np.abs(X).sum() + 0.2 * (X**2).sum()) / 4, rel=1e-5)


def test_lambda_is_traced_and_saved_by_name_only(monkeypatch):
    layer = layers.Lambda(lambda x, power, training=None: ops.power(x, power), arguments={"power": 2})
    np.testing.assert_allclose(layer(X), X**2, rtol=1e-5)
    assert layer.compute_output_shape((None, 6)) == (None, 6)
    with pytest.raises(TypeError, match="register_keras_serializable"):
        layer.get_config()
    named = layers.Lambda(double)
    with pytest.raises(TypeError, match="double"):
        named.get_config()
    monkeypatch.setitem(identifiers.custom_objects, "mine>double", double)
    config = json.loads(json.dumps(named.get_config()))
    np.testing.assert_allclose(layers.Lambda.from_config(config)(X), 2 * X, rtol=1e-6)
    with pytest.raises(ValueError, match="Unknown function"):
        layers.Lambda.from_config({"function": {"module": "os", "class_name": "function", "config": "system"}})


def test_old_arguments():
    with pytest.warns(UserWarning, match="negative_slope"):
        assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1
    assert layers.LeakyReLU().negative_slope == 0.3


def test_identity_keeps_structures():
    result = layers.Identity()({"a": X, "b": [X]})
    np.testing.assert_array_equal(result["b"][0], X)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: layers.Dense(0), "`units` to be a positive integer"),
        (lambda: layers.Dense(2.5), "`units` to be a positive integer"),
        (lambda: layers.Dense(3, activation="rleu"), "Did you mean 'relu'"),
        (lambda: layers.Dense(3).build((None, None)), "last axis"),
        (lambda: layers.Dense(3)(X[0]), "min_ndim=2"),
        (lambda: layers.Dense(3, lora_rank=2), "`lora_rank` is not supported"),
        (lambda: layers.Reshape((4, 4))(X), "as many elements"),
        (lambda: layers.Reshape((-1, -1)), "at most one -1"),
        (lambda: layers.Permute((1, 3)), "permutation"),
        (lambda: layers.RepeatVector(0), "positive integer"),
        (lambda: layers.ZeroPadding2D((1, 2, 3)), "pairs"),
        (lambda: layers.ZeroPadding2D(-1), "pairs"),
        (lambda: layers.Cropping2D(2)(np.ones((1, 4, 9, 1), np.float32)), "at least one element"),
        (lambda: layers.UpSampling2D(interpolation="cubic"), "bilinear"),
        (lambda: layers.PReLU().build((None, None, 3)), "known extents"),
        (lambda: layers.ReLU(max_value=-1), "max_value"),
        (lambda: layers.LeakyReLU(-0.1), "negative_slope"),
        (lambda: layers.Embedding(0, 3), "input_dim"),
    ],
)
def test_wrong_arguments(action, message):
    with pytest.raises(ValueError, match=message):
        action()


def test_a_number_of_repetitions_of_another_type():
    with pytest.raises(TypeError, match=r"`n` to be an integer\. Received: n=2\.0"):
        layers.RepeatVector(2.0)
