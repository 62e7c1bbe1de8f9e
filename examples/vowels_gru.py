"""Which of nine speakers says "ae"? Bidirectional GRU on utterances of 7 to 29 frames (JapaneseVowels, Kudo 1999).

Target: 95 % of the test utterances right. Utterances are padded at the end with a value that no frame has, and
`Masking` keeps the padded frames out of both directions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import graphcore as keras
from examples.tools import Rows, data_file, main
from graphcore import layers

SPEAKERS = 9
CHANNELS = 12
PADDING = -100.0
TARGET = 0.95


def read(path: Path) -> tuple[list[Any], Any]:
    """Utterances, each (frames, channels), and speakers from 0; a line has its channels and last its speaker."""
    lines = path.read_text(encoding="utf-8").splitlines()
    begin = next(row for row, line in enumerate(lines) if line.strip().lower() == "@data") + 1
    utterances, speakers = [], []
    for line in lines[begin:]:
        *channels, speaker = line.split(":")
        utterances.append(np.array([channel.split(",") for channel in channels], "float32").T)
        speakers.append(int(speaker) - 1)
    return utterances, np.array(speakers)


def padded(utterances: list[Any]) -> Any:
    """One array (utterances, frames, channels), PADDING after the end of the shorter ones."""
    return keras.utils.pad_sequences(utterances, dtype="float32", padding="post", value=PADDING)


def build_model(units: int = 64) -> keras.Model:
    """Masking, one GRU in each direction, and a probability for each speaker."""
    inputs = keras.Input((None, CHANNELS))
    x = layers.Masking(PADDING)(inputs)
    x = layers.Bidirectional(layers.GRU(units, dropout=0.1))(x)
    x = layers.Dropout(0.4)(x)
    outputs = layers.Dense(SPEAKERS, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="vowels_gru")


def train(model: keras.Model, x: Any, y: Any, epochs: int = 80) -> keras.callbacks.History:
    """Train on every utterance, the learning rate falling along a cosine."""
    batch = 16
    rate = keras.optimizers.schedules.CosineDecay(3e-3, epochs * -(-len(x) // batch))
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model.fit(x, y, batch_size=batch, epochs=epochs, verbose=2)


def run() -> Rows:
    """The whole example; returns what it reached."""
    x_train, y_train = read(data_file("JapaneseVowels_TRAIN.ts"))
    x_test, y_test = read(data_file("JapaneseVowels_TEST.ts"))
    model = build_model()
    model.summary()
    train(model, padded(x_train), y_train)
    _, accuracy = model.evaluate(padded(x_test), y_test, verbose=0)
    return [
        ("utterances for training, test", f"{len(x_train)}, {len(x_test)}"),
        ("test accuracy", f"{accuracy:.1%}"),
        (f"target {TARGET:.0%}", "reached" if accuracy >= TARGET else "missed"),
    ]


if __name__ == "__main__":
    main(__doc__, run)
