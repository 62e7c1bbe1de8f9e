"""The same seed gives the same bits: from run to run, and at any number of threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphcore import config, layers, models, utils

pytestmark = pytest.mark.usefixtures("threads_restored")


def small_net() -> models.Model:
    return models.Sequential(
        [
            layers.Input((14, 14, 3)),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Conv2D(12, 3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(5, activation="softmax"),
        ]
    )


def net_of_every_kind() -> models.Model:
    """A layer for each generator of contractions, both kinds of pooling, normalised activations, a residual."""
    inputs = layers.Input((14, 14, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.Conv2D(24, 3, padding="same", use_bias=False)(x)  # Winograd's, with statistics in its kernel
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(y)
    y = layers.SeparableConv2D(16, 3, padding="same", use_bias=False)(y)
    x = layers.Add()([x, layers.BatchNormalization()(y)])
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(20, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(24, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(24, 3, padding="same", groups=4, activation="relu")(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding="same")(x)  # narrow
    x = layers.AveragePooling2D(2)(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    return models.Model(inputs, layers.Dense(5, activation="softmax")(x))


def trained_weights(build: Callable[[], models.Model], threads: int) -> list[np.ndarray]:
    config.set_num_threads(threads)
    utils.clear_session()
    utils.set_random_seed(7)
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    generator = np.random.default_rng(3)
    x = generator.normal(size=(70, 14, 14, 3)).astype("float32")
    y = generator.integers(0, 5, 70)
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0)
    results = [*model.get_weights(), np.array(history.history["loss"]), model.predict(x, verbose=0)]
    assert all(np.isfinite(result).all() for result in results)
    return results


@pytest.mark.parametrize("build", [small_net, net_of_every_kind])
def test_results_do_not_depend_on_the_number_of_threads(build: Callable[[], models.Model]) -> None:
    one = trained_weights(build, 1)
    for threads in (2, 3, 4):
        for expected, weight in zip(one, trained_weights(build, threads), strict=True):
            np.testing.assert_array_equal(weight, expected)


def test_a_second_run_repeats_the_first() -> None:
    for expected, weight in zip(trained_weights(small_net, 2), trained_weights(small_net, 2), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_net_of_every_kind_is_what_it_says() -> None:
    utils.clear_session()
    model = net_of_every_kind()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(np.zeros((16, 14, 14, 3), "float32"), np.zeros(16, "int64"))
    compiled = model.lower("train").compiled
    labels = " ".join(instruction.label for instruction in compiled.program.instructions)
    for kind in ("winograd_convolution", "convolution_kernel_gradient", "average_pool"):
        assert kind in labels, kind
