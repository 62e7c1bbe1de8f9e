"""Printed summaries of two models, and a weight file with optimizer state.

Made with Keras 3.15.1 on JAX 0.10.2 (CPU). Run `python make_file_references.py` in an environment as
keras_setup.py describes. The files are described in README.md.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import keras_setup
import numpy as np
from keras import Model, Sequential, layers, optimizers, utils

FOLDER = Path(__file__).resolve().parent


def sequential_model() -> Model:
    return Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def branching_model() -> Model:
    inputs = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    y = layers.Conv2D(8, 3, padding="same")(x)
    y = layers.BatchNormalization()(y)
    x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    return Model(inputs, layers.Dense(4, name="classes")(x), name="branching")


def small_model() -> Model:
    inputs = layers.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, strides=2, padding="same", name="first_conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten()(layers.ReLU()(x))
    x = layers.Dense(5, activation="tanh", name="hidden")(x)
    return Model(inputs, layers.Dense(3, activation="softmax", name="classes")(x), name="small")


def write_summary(name: str, model: Model, columns: int = 200, **arguments: object) -> None:
    """What `model.summary(**arguments)` prints on a terminal of so many columns."""
    os.environ["COLUMNS"] = str(columns)
    texts: list[str] = []
    model.summary(print_fn=lambda text, **_: texts.append(text), **arguments)
    (FOLDER / f"summary_{name}.txt").write_text("\n".join(texts), encoding="utf-8")


def write_summaries() -> None:
    utils.clear_session()
    model = sequential_model()
    write_summary("sequential", model)
    model.layers[0].trainable = False
    write_summary("sequential_trainable", model, show_trainable=True)
    model.layers[0].trainable = True
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.train_on_batch(np.zeros((2, 28, 28, 1), np.float32), np.zeros(2, np.int32))
    write_summary("sequential_compiled", model)
    utils.clear_session()
    model = branching_model()
    write_summary("branching", model)
    write_summary("branching_80_columns", model, columns=80)


def write_weights() -> None:
    utils.clear_session()
    utils.set_random_seed(50)
    model = small_model()
    model.compile(optimizer=optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    generator = np.random.default_rng(51)
    x = generator.normal(size=(8, 6, 6, 2)).astype(np.float32)
    y = generator.integers(0, 3, size=8).astype(np.int32)
    for _ in range(2):
        model.train_on_batch(x, y)
    path = FOLDER / "small_model.weights.h5"
    model.save_weights(path)
    record = {"x": x, "y": y, "prediction": model.predict(x, verbose=0)}
    record["weight_names"] = np.array([weight.path for weight in model.weights])
    record |= {f"weight_{index:02d}": value for index, value in enumerate(model.get_weights())}
    variables = model.optimizer.variables
    record["optimizer_names"] = np.array([variable.path for variable in variables])
    record |= {f"optimizer_{index:02d}": np.asarray(value.value) for index, value in enumerate(variables)}
    record["versions"] = np.array(json.dumps(keras_setup.versions()))
    arrays_path = FOLDER / "small_model.npz"
    np.savez_compressed(arrays_path, **record)
    print(f"{path.name}: {path.stat().st_size} bytes; {arrays_path.name}: {arrays_path.stat().st_size} bytes")


if __name__ == "__main__":
    write_summaries()
    write_weights()
