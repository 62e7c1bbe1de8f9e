"""A transformer that writes Shakespeare, a character at a time (Vaswani et al. 2017; Karpathy's tiny Shakespeare).

Target: at most 1.8 nats a character on the last tenth of the text, which it never saw, with ten minutes of
training on two cores; then it writes some lines. Blocks normalise before attention and before the dense layers.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import graphcore as keras
from examples.tools import Rows, data_file, main
from graphcore import layers, ops
from graphcore.generation import generate

LENGTH = 128  # characters that attention sees
TARGET = 1.8  # nats a character
BUDGET = 1200.0  # seconds of processor time in training: ten minutes on two cores
BATCH = 16
STEPS = 1800


class Text:
    """A text as ids of its characters."""

    def __init__(self, text: str) -> None:
        self.characters = sorted(set(text))
        self.ids = self.encode(text)

    def encode(self, text: str) -> Any:
        """Ids, int32 (characters,)."""
        ids = {character: row for row, character in enumerate(self.characters)}
        return np.array([ids[character] for character in text], "int32")

    def decode(self, ids: Any) -> str:
        """The text again."""
        return "".join(self.characters[row] for row in ids)


class RandomPieces(keras.utils.PyDataset):
    """Batches of pieces that begin anywhere, others in each epoch, with the character after each one as its label."""

    def __init__(self, ids: Any, steps: int, seed: int = 0) -> None:
        super().__init__()
        self.ids, self.steps, self.seed, self.epoch = ids, steps, seed, 0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[Any, Any]:
        """Characters (BATCH, LENGTH) and the next ones."""
        begins = np.random.default_rng((self.seed, self.epoch, step)).integers(len(self.ids) - LENGTH, size=(BATCH, 1))
        pieces = self.ids[begins + np.arange(LENGTH + 1)]
        return pieces[:, :-1], pieces[:, 1:]

    def on_epoch_end(self) -> None:
        """The next epoch draws other pieces."""
        self.epoch += 1


class TokenAndPosition(layers.Layer):
    """A learnt vector for each character, plus one for each place in the piece."""

    def __init__(self, characters: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.tokens = layers.Embedding(characters, width)
        self.places = layers.Embedding(LENGTH, width)

    def call(self, ids: Any) -> Any:
        """Vectors (batch, length, width) of ids (batch, length); `length` is at most LENGTH."""
        return self.tokens(ids) + self.places(ops.arange(ops.shape(ids)[1]))


def block(x: Any, heads: int, width: int) -> Any:
    """Causal attention and two dense layers, each added to what went in."""
    seen = layers.LayerNormalization()(x)
    seen = layers.MultiHeadAttention(heads, width // heads)(seen, seen, use_causal_mask=True)
    x = x + seen
    thought = layers.LayerNormalization()(x)
    thought = layers.Dense(4 * width, activation="gelu")(thought)
    thought = layers.Dense(width)(thought)
    return x + thought


def build_model(characters: int, width: int = 128, blocks: int = 2, heads: int = 4) -> keras.Model:
    """Scores (logits) of the next character after each character."""
    inputs = keras.Input((None,), dtype="int32")
    x = TokenAndPosition(characters, width)(inputs)
    for _ in range(blocks):
        x = block(x, heads, width)
    outputs = layers.Dense(characters)(layers.LayerNormalization()(x))
    return keras.Model(inputs, outputs, name="shakespeare")


def train(model: keras.Model, ids: Any, steps: int = STEPS, epochs: int = 6) -> keras.callbacks.History:
    """Train on random pieces of the first nine tenths; the loss on the rest is in nats a character."""
    rate = keras.optimizers.schedules.CosineDecay(1e-5, steps, alpha=0.05, warmup_target=3e-3, warmup_steps=100)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.05, beta_2=0.99, clipnorm=1.0), loss)
    cut = len(ids) * 9 // 10
    pieces = np.lib.stride_tricks.sliding_window_view(ids[cut:], LENGTH + 1)[::LENGTH]
    validation = pieces[:, :-1], pieces[:, 1:]
    return model.fit(RandomPieces(ids[:cut], steps // epochs), epochs=epochs, validation_data=validation)


def write(model: keras.Model, text: Text, start: str, characters: int, seed: int = 0, temperature: float = 0.8) -> str:
    """The start and what the model draws after it, so many characters in all.

    The model knows LENGTH places: when they are full, it goes on from the last half of what it wrote.
    """
    ids = text.encode(start)
    while len(ids) < characters:
        seen = ids[-(LENGTH // 2) :]
        longer = generate(model, seen, LENGTH, "random", temperature=temperature, seed=seed + len(ids))
        ids = np.concatenate([ids, longer[len(seen) :]])
    return text.decode(ids[:characters])


def run() -> Rows:
    """The whole example; returns what it reached."""
    text = Text(data_file("tinyshakespeare.txt").read_text(encoding="utf-8"))
    model = build_model(len(text.characters))
    model.summary()
    begin = time.process_time()
    history = train(model, text.ids)
    seconds = time.process_time() - begin
    loss = history.history["val_loss"][-1]
    print(write(model, text, "ROMEO:\n", 600))
    reached = loss <= TARGET and seconds <= BUDGET
    return [
        ("training", f"{STEPS} steps of {BATCH} x {LENGTH} characters"),
        ("processor time of training", f"{seconds:.0f} s"),
        ("validation loss", f"{loss:.3f} nats a character"),
        (f"target {TARGET} within {BUDGET:.0f} s", "reached" if reached else "missed"),
    ]


if __name__ == "__main__":
    main(__doc__, run)
