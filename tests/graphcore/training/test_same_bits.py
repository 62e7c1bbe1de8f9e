"""The same seed gives the same bits: from run to run, and at any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from graphcore import config, layers, models, utils


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = config.get_num_threads()
    yield
    config.set_num_threads(before)


def trained_weights(threads: int) -> list[np.ndarray]:
    config.set_num_threads(threads)
    utils.clear_session()
    utils.set_random_seed(7)
    model = models.Sequential(
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
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    generator = np.random.default_rng(3)
    x = generator.normal(size=(70, 14, 14, 3)).astype("float32")
    y = generator.integers(0, 5, 70)
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0)
    return [*model.get_weights(), np.array(history.history["loss"])]


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    one = trained_weights(1)
    for threads in (2, 3, 4):
        for expected, weight in zip(one, trained_weights(threads), strict=True):
            np.testing.assert_array_equal(weight, expected)


def test_a_second_run_repeats_the_first() -> None:
    for expected, weight in zip(trained_weights(2), trained_weights(2), strict=True):
        np.testing.assert_array_equal(weight, expected)
