"""Models whose pages are to open well: a small CNN, ResNet-50, an LSTM, a transformer; compiled to train."""

from __future__ import annotations

from typing import Any

import graphcore as keras
from graphcore import demo, layers


def cnn() -> keras.Model:
    """The demo's."""
    return _compiled(demo.build_model())


def resnet50() -> keras.Model:
    """He et al. 2016, for 224 x 224 images: 25.6 million parameters."""
    inputs = keras.Input((224, 224, 3))
    x = _normalised(layers.Conv2D(64, 7, strides=2, padding="same", use_bias=False)(inputs))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(layers.ReLU()(x))
    for stage, (filters, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            name = f"stage{stage + 1}_block{block + 1}"
            x = _bottleneck(x, filters, 2 if stage and not block else 1, name, widens=not block)
    x = layers.GlobalAveragePooling2D()(x)
    return _compiled(keras.Model(inputs, layers.Dense(1000, activation="softmax")(x), name="resnet50"))


def lstm() -> keras.Model:
    """Words to one of two classes."""
    inputs = keras.Input((80,), dtype="int32")
    x = layers.LSTM(128)(layers.Embedding(20_000, 128)(inputs))
    return _compiled(keras.Model(inputs, layers.Dense(2, activation="softmax")(x), name="lstm"))


def transformer() -> keras.Model:
    """Two blocks of attention over 128 words."""
    inputs = keras.Input((128,), dtype="int32")
    x = layers.Embedding(1000, 128)(inputs)
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 32)(x, x))
        wide = layers.Dense(512, activation="gelu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(128)(wide))
    x = layers.GlobalAveragePooling1D()(x)
    return _compiled(keras.Model(inputs, layers.Dense(2, activation="softmax")(x), name="transformer"))


def _bottleneck(x: Any, filters: int, strides: int, name: str, *, widens: bool) -> Any:
    y = layers.ReLU()(_normalised(layers.Conv2D(filters, 1, strides=strides, use_bias=False, name=f"{name}_in")(x)))
    y = layers.ReLU()(_normalised(layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_mid")(y)))
    y = _normalised(layers.Conv2D(4 * filters, 1, use_bias=False, name=f"{name}_out")(y))
    if widens:
        x = _normalised(layers.Conv2D(4 * filters, 1, strides=strides, use_bias=False, name=f"{name}_short")(x))
    return layers.ReLU()(layers.Add()([x, y]))


def _normalised(x: Any) -> Any:
    return layers.BatchNormalization()(x)


def _compiled(model: keras.Model) -> keras.Model:
    model.compile("adam", "sparse_categorical_crossentropy")
    return model
