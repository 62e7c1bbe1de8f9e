"""Dropout and noise: share, scale, mean, seeds, and nothing without training."""

import numpy as np
import pytest

from graphcore import layers
from graphcore.random import SeedGenerator

X = np.ones((50, 40, 10), np.float32)


def test_dropout_keeps_the_mean_and_drops_the_share():
    layer = layers.Dropout(0.25, seed=1)
    result = layer(X, training=True)
    dropped = (result == 0).mean()
    # 20000 independent draws: five standard deviations.
    assert dropped == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / X.size))
    np.testing.assert_allclose(result[result != 0], 1 / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(layer(X), X)
    np.testing.assert_array_equal(layer(X, training=False), X)


def test_the_generator_moves_on_in_training_only():
    layer = layers.Dropout(0.5, seed=3)
    first, second = layer(X, training=True), layer(X, training=True)
    assert (first != second).any()
    state = layer.seed_generator.state.numpy()
    layer(X)
    np.testing.assert_array_equal(layer.seed_generator.state.numpy(), state)
    again = layers.Dropout(0.5, seed=3)
    np.testing.assert_array_equal(again(X, training=True), first)
    shared = layers.Dropout(0.5, seed=SeedGenerator(3))
    np.testing.assert_array_equal(shared(X, training=True), first)
    assert shared.get_config()["seed"] == 3
    assert layer.weights == []
    assert len(layer.non_trainable_variables) == 1


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_extreme_rates(rate):
    result = layers.Dropout(rate)(X, training=True)
    np.testing.assert_array_equal(result, X * (1 - rate))
    assert not hasattr(layers.Dropout(0.0), "seed_generator")


def test_patterns_are_repeated_along_the_noise_shape():
    result = layers.Dropout(0.5, noise_shape=(None, 1, None), seed=0)(X, training=True)
    np.testing.assert_array_equal(result, np.broadcast_to(result[:, :1], X.shape))
    assert 0 < (result == 0).mean() < 1
    result = layers.SpatialDropout1D(0.5, seed=0)(X, training=True)
    np.testing.assert_array_equal(result, np.broadcast_to(result[:, :1], X.shape))
    images = np.ones((20, 4, 4, 16), np.float32)
    result = layers.SpatialDropout2D(0.5, seed=0)(images, training=True)
    np.testing.assert_array_equal(result, np.broadcast_to(result[:, :1, :1], images.shape))
    first = layers.SpatialDropout2D(0.5, "channels_first", seed=0)(images, training=True)
    np.testing.assert_array_equal(first, np.broadcast_to(first[:, :, :1, :1], images.shape))


def test_gaussian_noise_and_dropout():
    zeros = np.zeros_like(X)
    noise = layers.GaussianNoise(0.3, seed=0)(zeros, training=True)
    assert noise.mean() == pytest.approx(0.0, abs=5 * 0.3 / np.sqrt(X.size))
    assert noise.std() == pytest.approx(0.3, rel=0.03)
    factors = layers.GaussianDropout(0.2, seed=0)(X, training=True)
    assert factors.mean() == pytest.approx(1.0, abs=5 * 0.5 / np.sqrt(X.size))
    assert factors.std() == pytest.approx(0.5, rel=0.03)
    np.testing.assert_array_equal(layers.GaussianNoise(0.3)(X), X)
    np.testing.assert_array_equal(layers.GaussianDropout(0.3)(X), X)


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
    result = layers.AlphaDropout(0.3, seed=0)(x, training=True)
    assert result.mean() == pytest.approx(0.0, abs=0.02)
    assert result.std() == pytest.approx(1.0, rel=0.02)
    np.testing.assert_array_equal(layers.AlphaDropout(0.3)(x), x)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: layers.Dropout(1.5), r"\[0, 1\]"),
        (lambda: layers.Dropout("half"), r"\[0, 1\]"),
        (lambda: layers.Dropout(0.5, noise_shape=(0, 1)), "noise_shape"),
        (lambda: layers.GaussianNoise(-1), "stddev"),
        (lambda: layers.GaussianDropout(1.0), "variance"),
        (lambda: layers.AlphaDropout(1), "rescale"),
    ],
)
def test_wrong_arguments(action, message):
    with pytest.raises(ValueError, match=message):
        action()
