"""Models of recurrent layers, compiled: one program for every length, the same bits at any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from graphcore import Model, Sequential, config, layers, models, utils


def tagger() -> Model:
    return Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True),
            layers.GRU(5, return_sequences=True, go_backwards=True),
            layers.LSTM(4, return_sequences=True),
            layers.SimpleRNN(4),
            layers.Dense(3, activation="softmax"),
        ]
    )


def words(batch: int, length: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    found = generator.integers(1, 20, size=(batch, length))
    for row, valid in enumerate(generator.integers(0, length + 1, size=batch)):
        found[row, valid:] = 0
    return found.astype(np.int32)


def test_one_compilation_serves_lengths_from_1_to_300() -> None:
    model = tagger()
    interpreted = models.clone_model(model)
    interpreted.set_weights(model.get_weights())
    model.compile("sgd", "sparse_categorical_crossentropy")
    interpreted.compile("sgd", "sparse_categorical_crossentropy", jit=False)
    programs = set()
    for length in (1, 2, 7, 33, 300):
        x, y = words(3, length, length), np.arange(3)
        losses = [m.train_on_batch(x, y) for m in (model, interpreted)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
        programs.add(id(model.lower("train").compiled))
    assert len(programs) == 1
    for ours, theirs in zip(model.get_weights(), interpreted.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("threads_restored")
def test_the_same_bits_at_any_number_of_threads() -> None:
    found = []
    for threads in (1, 2, 3, 4):
        config.set_num_threads(threads)
        utils.set_random_seed(5)
        model = tagger()
        model.compile("adam", "sparse_categorical_crossentropy")
        losses = [model.train_on_batch(words(9, 11, seed), np.arange(9) % 3) for seed in range(3)]
        found.append([np.array(losses, np.float32), *model.get_weights()])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            assert ours.tobytes() == theirs.tobytes()
