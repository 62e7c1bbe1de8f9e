"""Is a film review positive? Words -> Embedding -> LSTM, on IMDB (Maas et al. 2011).

Target: 82 % of the test reviews right. Reviews are cut to their last 200 words; shorter ones are padded at the
end, and the mask that the embedding makes keeps the padding out of the recurrence.
"""

from __future__ import annotations

from typing import Any

import graphcore as keras
from examples.tools import Rows, main
from graphcore import layers

WORDS = 10_000
LENGTH = 200
TARGET = 0.82


def load() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Word ids (reviews, LENGTH), 0 for padding, with labels: for training and for the test."""
    train, test = keras.datasets.imdb.load_data(num_words=WORDS)
    return padded(*train), padded(*test)


def padded(reviews: Any, labels: Any) -> tuple[Any, Any]:
    """Reviews of one length: the end of a long one, zeros after a short one."""
    return keras.utils.pad_sequences(reviews, maxlen=LENGTH, padding="post", truncating="pre"), labels


def build_model(units: int = 64) -> keras.Model:
    """Embedding, dropout of whole embedding channels, LSTM, and one probability."""
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(WORDS, units, mask_zero=True)(inputs)
    x = layers.SpatialDropout1D(0.3)(x)
    x = layers.LSTM(units, dropout=0.2)(x)
    x = layers.Dropout(0.4)(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs, name="imdb_lstm")


def train(model: keras.Model, x: Any, y: Any, epochs: int = 8) -> keras.callbacks.History:
    """Train on nine tenths, watch the rest, and keep the weights of the best epoch."""
    model.compile(keras.optimizers.Adam(2e-3, clipnorm=1.0), "binary_crossentropy", metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    return model.fit(x, y, batch_size=64, epochs=epochs, validation_split=0.1, callbacks=[stop])


def run() -> Rows:
    """The whole example; returns what it reached."""
    (x_train, y_train), (x_test, y_test) = load()
    model = build_model()
    model.summary()
    history = train(model, x_train, y_train)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    return [
        ("reviews for training, test", f"{len(x_train)}, {len(x_test)}"),
        ("epochs", str(len(history.epoch))),
        ("test accuracy", f"{accuracy:.1%}"),
        (f"target {TARGET:.0%}", "reached" if accuracy >= TARGET else "missed"),
    ]


if __name__ == "__main__":
    main(__doc__, run)
