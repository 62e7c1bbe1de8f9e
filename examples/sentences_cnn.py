"""Is one sentence of a film review positive? 1-D convolutions of several widths on rt-polarity (Pang and Lee 2005).

Target: 75 % of the test sentences right. The network is Kim's (2014), its embedding learnt from the sentences
alone: each filter looks at 1 to 3 words in a row, and its largest answer is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import graphcore as keras
from examples.tools import Rows, data_file, main
from graphcore import layers

LENGTH = 40  # words
WORDS = 10_000
WIDTHS = (1, 2, 3)
TARGET = 0.75


def load() -> tuple[list[str], Any]:
    """Sentences in a fixed random order, and their labels, 1 for positive."""
    sentences, labels = [], []
    for label, name in enumerate(("rt-polarity.neg", "rt-polarity.pos")):
        lines = data_file(name).read_text(encoding="latin-1").splitlines()
        sentences += lines
        labels += [label] * len(lines)
    order = np.random.default_rng(0).permutation(len(sentences))
    return [sentences[row] for row in order], np.array(labels)[order]


def make_vectorizer(sentences: Sequence[str]) -> layers.TextVectorization:
    """A layer that makes word ids (sentences, LENGTH) of sentences; 0 is padding, 1 a word that is not known.

    The sentences are in small letters, with spaces around punctuation; so only spaces have to be looked at.
    """
    vectorizer = layers.TextVectorization(WORDS, standardize=None, output_sequence_length=LENGTH)
    vectorizer.adapt(sentences)
    return vectorizer


def build_model(words: int, units: int = 64, filters: int = 64) -> keras.Model:
    """Embedding, three convolutions side by side, the maximum of each over the sentence, and one probability."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(words, units)(inputs)
    x = layers.Dropout(0.5)(x)
    found = [layers.Conv1D(filters, width, padding="same", activation="relu")(x) for width in WIDTHS]
    x = layers.Concatenate()([layers.GlobalMaxPooling1D()(answers) for answers in found])
    x = layers.Dropout(0.5)(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs, name="sentences_cnn")


def train(model: keras.Model, x: Any, y: Any, epochs: int = 12) -> keras.callbacks.History:
    """Train on nine tenths, watch the rest, and keep the weights of the best epoch."""
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    return model.fit(x, y, batch_size=50, epochs=epochs, validation_split=0.1, callbacks=[stop])


def run() -> Rows:
    """The whole example; returns what it reached."""
    sentences, labels = load()
    held_back = len(sentences) // 10
    vectorizer = make_vectorizer(sentences[held_back:])
    x = vectorizer(sentences)
    model = build_model(vectorizer.vocabulary_size())
    model.summary()
    history = train(model, x[held_back:], labels[held_back:])
    _, accuracy = model.evaluate(x[:held_back], labels[:held_back], verbose=0)
    return [
        ("sentences for training, test", f"{len(x) - held_back}, {held_back}"),
        ("words known", str(vectorizer.vocabulary_size())),
        ("epochs", str(len(history.epoch))),
        ("test accuracy", f"{accuracy:.1%}"),
        (f"target {TARGET:.0%}", "reached" if accuracy >= TARGET else "missed"),
    ]


if __name__ == "__main__":
    main(__doc__, run)
