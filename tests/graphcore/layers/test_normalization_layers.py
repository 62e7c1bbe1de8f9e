"""Normalisation: when statistics move, masks, adapted data, wrong arguments."""

import numpy as np
import pytest

import graphcore
from graphcore import layers

X = np.random.default_rng(0).normal(2.0, 3.0, size=(32, 5)).astype(np.float32)


def test_moving_statistics_move_in_training_only():
    layer = layers.BatchNormalization(momentum=0.9)
    layer(X)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), 0.0)
    layer(X, training=True)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * X.mean(0), rtol=1e-5)
    variance = 0.9 + 0.1 * X.var(0)  # biased
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)
    layer.trainable = False
    layer(X, training=True)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)


def test_frozen_layers_use_moving_statistics():
    layer = layers.BatchNormalization()
    layer.trainable = False
    np.testing.assert_allclose(layer(X, training=True), X / np.sqrt(1 + 1e-3), rtol=1e-5)


def test_masked_steps_do_not_count():
    x = np.random.default_rng(1).normal(size=(4, 6, 3)).astype(np.float32)
    mask = np.arange(6) < np.array([[6], [4], [1], [3]])
    layer = layers.BatchNormalization()
    result = layer(x, training=True, mask=mask)
    valid = x[mask]
    wanted = (x - valid.mean(0)) / np.sqrt(valid.var(0) + 1e-3)
    np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="one axis less"):
        layer(x, training=True, mask=np.ones((4, 6, 3), bool))


def test_half_precision_is_computed_in_single():
    layer = layers.BatchNormalization(dtype="mixed_float16")
    large = (np.arange(64).reshape(32, 2) * 10).astype(np.float16)
    result = layer(large, training=True)
    assert result.dtype == np.float16
    exact = large.astype(np.float64)
    np.testing.assert_allclose(result, (exact - exact.mean(0)) / exact.std(0), atol=2e-3)


def test_weights_over_axes_counted_from_both_ends():
    """Keras 3.15 sorts the axes as they are given: (1, -1) makes a gamma of the last axis and axis 1, read in order."""
    layer = layers.LayerNormalization(axis=(1, -1), epsilon=0.0)
    x = np.random.default_rng(0).normal(size=(2, 3, 2)).astype(np.float32)
    layer.build(x.shape)
    assert [weight.shape for weight in layer.weights] == [(2, 3), (2, 3)]
    layer.set_weights([np.arange(6.0).reshape(2, 3), np.arange(6.0, 12.0).reshape(2, 3)])
    normalized = (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True)
    expected = normalized * np.arange(6).reshape(3, 2) + np.arange(6, 12).reshape(3, 2)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("axis", "built"), [(-1, [-1]), ((1, -1), [-1, 1])])
def test_the_configuration_of_a_built_layer_has_its_axes_sorted(axis, built):
    layer = layers.LayerNormalization(axis=axis)
    assert layer.get_config()["axis"] == (axis if isinstance(axis, int) else list(axis))
    layer.build((None, 3, 4))
    config = layer.get_config()
    assert config["axis"] == built
    assert config["rms_scaling"] is False
    assert layers.LayerNormalization.from_config(config).get_config() == config


def test_root_mean_square_normalization_calls_its_input_x():
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    layer = layers.RMSNormalization()
    np.testing.assert_array_equal(layer(x=x), layer(x))


def test_no_weights_need_no_extents():
    layer = layers.LayerNormalization(axis=(1, 2), center=False, scale=False)
    model = graphcore.Model(inputs := graphcore.Input((None, 4)), layer(inputs))
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-3)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_adapted_statistics():
    layer = layers.Normalization()
    layer.adapt(X)
    np.testing.assert_allclose(layer(X), (X - X.mean(0)) / X.std(0), rtol=1e-4, atol=1e-5)
    batches = layers.Normalization()
    batches.adapt([X[:7], (X[7:20], None), X[20:]])
    np.testing.assert_allclose(batches.adapt_variance.numpy(), layer.adapt_variance.numpy(), rtol=1e-5)
    np.testing.assert_allclose(batches.adapt_mean.numpy(), layer.adapt_mean.numpy(), rtol=1e-5)
    assert [weight.name for weight in layer.weights] == ["mean", "variance", "count"]
    assert not layer.trainable_weights


def test_given_statistics_and_inversion():
    layer = layers.Normalization(axis=None, mean=2.0, variance=9.0)
    np.testing.assert_allclose(layer(X), (X - 2) / 3, rtol=1e-5, atol=1e-6)
    back = layers.Normalization(axis=-1, mean=[0.0] * 5, variance=[4.0] * 5, invert=True)
    np.testing.assert_allclose(back(X), 2 * X, rtol=1e-5)
    assert layers.Normalization.from_config(back.get_config()).get_config() == back.get_config()
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    per_row = layers.Normalization(axis=1)
    per_row.adapt(images)
    mean, std = images.mean((0, 2, 3), keepdims=True), images.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(per_row(images), (images - mean) / std, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: layers.BatchNormalization(synchronized=True), "several devices"),
        (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"max": 1}), "rmax, rmin, dmax. Received: max"),
        (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"rmax": 1, "rmin": 2}), "rmin=2"),
        (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"dmax": -1}), "dmax=-1"),
        (lambda: layers.BatchNormalization(axis=3).build((None, 4)), "axis 3"),
        (lambda: layers.BatchNormalization().build((None, None)), "known extent"),
        (lambda: layers.LayerNormalization(axis=2).build((None, 4)), "out of bounds"),
        (lambda: layers.LayerNormalization().build((None, None)), "known extent"),
        (lambda: layers.GroupNormalization(groups=0), "groups"),
        (lambda: layers.GroupNormalization(groups=3).build((None, 4, 4, 8)), "multiple"),
        (lambda: layers.Normalization(mean=1.0), "both"),
        (lambda: layers.Normalization(mean=1.0, variance=1.0).adapt(X), "no effect"),
        (lambda: layers.Normalization().adapt([]), "no data"),
    ],
)
def test_wrong_arguments(action, message):
    with pytest.raises(ValueError, match=message):
        action()


def test_wrong_types():
    with pytest.raises(TypeError, match="axis"):
        layers.LayerNormalization(axis="last")
    with pytest.raises(TypeError, match="axis"):
        layers.UnitNormalization(axis=None)
