"""Twenty training steps of three models against Keras: interpreted, and compiled.

The stored curves come with their float64 twins, so the tolerance is what float32 itself costs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_arrays

import graphcore as keras
from graphcore import layers, optimizers

FOLDER = Path(reference_arrays.__file__).resolve().parent
STEPS = 20
LOSS_TOLERANCE = 3e-5  # relative; Keras in float32 is up to 7e-6 from its float64 self
WEIGHT_TOLERANCE = 2e-3  # absolute, where Adam has turned rounding noise of small gradients into steps


def mlp() -> Any:
    return keras.Sequential(
        [
            layers.Input((20,)),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(16, activation="tanh", name="narrow"),
            layers.Dense(4, activation="softmax", name="classes"),
        ],
        name="mlp",
    )


def cnn() -> Any:
    return keras.Sequential(
        [
            layers.Input((12, 12, 3)),
            layers.Conv2D(8, 3, strides=2, padding="same", name="strided"),
            layers.BatchNormalization(name="normalise"),
            layers.ReLU(name="rectify"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(12, 2, activation="relu", name="valid"),
            layers.Flatten(name="flatten"),
            layers.Dense(5, activation="softmax", name="classes"),
        ],
        name="cnn",
    )


def block(x: Any, filters: int, strides: int, name: str) -> Any:
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x)


def residual() -> Any:
    inputs = keras.Input((12, 12, 3))
    x = layers.ReLU(name="stem_relu")(block(inputs, 8, 1, "stem"))
    y = layers.ReLU(name="block1a_relu")(block(x, 8, 1, "block1a"))
    y = block(y, 8, 1, "block1b")
    x = layers.ReLU(name="block1_relu")(layers.Add(name="block1_add")([x, y]))
    y = layers.ReLU(name="block2a_relu")(block(x, 16, 2, "block2a"))
    y = block(y, 16, 1, "block2b")
    shortcut = layers.Conv2D(16, 1, strides=2, use_bias=False, name="projection_conv")(x)
    shortcut = layers.BatchNormalization(name="projection_norm")(shortcut)
    x = layers.ReLU(name="block2_relu")(layers.Add(name="block2_add")([shortcut, y]))
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="classes")(x), name="residual")


MODELS = {
    "mlp": (mlp, lambda: optimizers.Adam(0.01)),
    "cnn": (cnn, lambda: optimizers.SGD(0.02, momentum=0.9, nesterov=True)),
    "residual": (residual, lambda: optimizers.Adam(0.005, epsilon=1e-3)),
}


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["interpreted", "compiled"])
@pytest.mark.parametrize("name", list(MODELS))
def test_training_follows_keras(name: str, jit: bool) -> None:
    make, make_optimizer = MODELS[name]
    with np.load(FOLDER / f"training_{name}.npz") as stored:
        reference = dict(stored)
    model = make()
    assert [weight.path for weight in model.weights] == reference["weight_names"].tolist()
    count = len(model.weights)
    model.set_weights([reference[f"initial_{i:02d}"] for i in range(count)])
    model.compile(make_optimizer(), "sparse_categorical_crossentropy", metrics=["accuracy"], jit=jit)
    x, y = reference["x"], reference["y"]
    flat = x.reshape(-1, *x.shape[2:])
    before = model.predict(flat, verbose=0)
    np.testing.assert_allclose(before, reference["predictions_before_float64"], rtol=1e-4, atol=1e-6)
    values = np.array([model.train_on_batch(x[k % len(x)], y[k % len(y)]) for k in range(STEPS)])
    np.testing.assert_allclose(values[:, 0], reference["losses_float64"], rtol=LOSS_TOLERANCE)
    np.testing.assert_allclose(values[:, 1], reference["accuracies"], atol=1e-6)
    evaluation = model.evaluate(flat, y.reshape(-1), batch_size=16, verbose=0)
    np.testing.assert_allclose(evaluation, reference["evaluation_float64"], rtol=LOSS_TOLERANCE)
    for i, weight in enumerate(model.get_weights()):
        np.testing.assert_allclose(weight, reference[f"final_{i:02d}_float64"], atol=WEIGHT_TOLERANCE, rtol=1e-3)
    after = model.predict(flat, verbose=0)
    np.testing.assert_allclose(after, reference["predictions_after_float64"], atol=1e-4)
