"""A small classifier, for docs/model.md."""

import graphcore as keras
from graphcore import layers

inputs = keras.Input((4,), name="x")
hidden = layers.Dense(8, activation="relu", name="hidden")(inputs)
outputs = layers.Dense(3, activation="softmax", name="classes")(hidden)
model = keras.Model(inputs, outputs, name="small")
model.compile("sgd", "sparse_categorical_crossentropy")
