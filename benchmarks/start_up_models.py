"""The models that the benchmarks train, with data of the right shape."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphcore as keras
from graphcore import layers
from graphcore.demo import build_model


def build(name: str, batch: int) -> tuple[keras.Model, Any, Any]:
    """A model, a batch of inputs and their labels."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 10, batch)
    if name == "digits":
        return build_model(), generator.integers(0, 255, (batch, 28, 28, 1)).astype("uint8"), y
    if name == "mlp":
        model = keras.Sequential(
            [
                layers.Input((784,)),
                layers.Dense(128, activation="relu"),
                layers.Dense(64, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
        return model, generator.normal(size=(batch, 784)).astype("float32"), y
    if name == "residual":
        return residual(), generator.normal(size=(batch, 32, 32, 3)).astype("float32"), y
    raise ValueError(f"No model '{name}'. Known: mlp, digits, residual.")


def residual() -> keras.Model:
    """ResNet-20 for 32 x 32 images (He et al. 2015, section 4.2)."""
    inputs = keras.Input((32, 32, 3))
    x = _normalised(inputs, 16, 3, 1, relu=True)
    for filters in (16, 32, 64):
        for block in range(3):
            strides = 2 if filters > 16 and block == 0 else 1
            shortcut = x if strides == 1 else _normalised(x, filters, 1, strides, relu=False)
            x = _normalised(x, filters, 3, strides, relu=True)
            x = layers.ReLU()(layers.Add()([_normalised(x, filters, 3, 1, relu=False), shortcut]))
    outputs = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs, name="residual")


def _normalised(x: Any, filters: int, size: int, strides: int, *, relu: bool) -> Any:
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if relu else x
