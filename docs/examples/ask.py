"""Asks two questions about a small model: which layers share kernels, and where a NaN comes from."""

from __future__ import annotations

import numpy as np

import graphcore as keras
from graphcore import layers, ops

inputs = keras.Input((8, 8, 3))
x = layers.Conv2D(16, 3, name="first")(inputs)
x = layers.ReLU(name="relu")(x)
x = layers.Conv2D(16, 3, name="second")(x)
x = layers.Lambda(lambda images: ops.log(images - 1.0), name="logarithm")(x)
outputs = layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="pool")(x))
model = keras.Model(inputs, outputs)

# -- kernels
for pair in (("first", "relu"), ("relu", "second")):
    print(keras.explain(*pair, of=model))

# -- NaN
model.compile(optimizer="adam", loss="mse", debug="nan")
try:
    model.fit(np.ones((4, 8, 8, 3), np.float32), np.zeros((4, 2), np.float32), verbose=0)
except FloatingPointError as error:
    lines = str(error).splitlines()
    print(f"\n{lines[0]}\n  ...\n{lines[-1]}")
