"""Training curves of three small Keras models, 20 steps each without shuffling or dropout.

Made with Keras 3.15.1 on JAX 0.10.2 (CPU). Run `python make_training_references.py` in an environment
as keras_setup.py describes. Each training_*.npz is documented in README.md.

Every model runs twice from the same float32 starting weights and batches: once in float32 and once in
float64, so that a test can tell an error from the rounding that any float32 run has.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import keras_setup
import numpy as np
from keras import Model, Sequential, layers, optimizers
from keras.utils import set_random_seed

FOLDER = Path(__file__).resolve().parent
STEPS = 20
DISTINCT_BATCHES = 4
BATCH = 16


def mlp() -> Model:
    return Sequential(
        [
            layers.Input((20,)),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(16, activation="tanh", name="narrow"),
            layers.Dense(4, activation="softmax", name="classes"),
        ],
        name="mlp",
    )


def cnn() -> Model:
    return Sequential(
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


def convolution_block(x: object, filters: int, strides: int, name: str) -> object:
    # No bias before batch normalisation: its true gradient is zero, and Adam would turn the rounding
    # noise of that zero into full steps that no two implementations share.
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x)


def residual() -> Model:
    inputs = layers.Input((12, 12, 3))
    x = layers.ReLU(name="stem_relu")(convolution_block(inputs, 8, 1, "stem"))
    y = layers.ReLU(name="block1a_relu")(convolution_block(x, 8, 1, "block1a"))
    y = convolution_block(y, 8, 1, "block1b")
    x = layers.ReLU(name="block1_relu")(layers.Add(name="block1_add")([x, y]))
    y = layers.ReLU(name="block2a_relu")(convolution_block(x, 16, 2, "block2a"))
    y = convolution_block(y, 16, 1, "block2b")
    shortcut = layers.Conv2D(16, 1, strides=2, use_bias=False, name="projection_conv")(x)
    shortcut = layers.BatchNormalization(name="projection_norm")(shortcut)
    x = layers.ReLU(name="block2_relu")(layers.Add(name="block2_add")([shortcut, y]))
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return Model(inputs, layers.Dense(4, activation="softmax", name="classes")(x), name="residual")


MODELS = {
    "mlp": (mlp, lambda: optimizers.Adam(learning_rate=0.01), (20,), 4),
    "cnn": (cnn, lambda: optimizers.SGD(learning_rate=0.02, momentum=0.9, nesterov=True), (12, 12, 3), 5),
    # The usual epsilon lets Adam turn a gradient of nearly zero into a step of full size, and two float32
    # runs then part by 1e-3 within 20 steps. With this one they stay comparable.
    "residual": (residual, lambda: optimizers.Adam(learning_rate=0.005, epsilon=1e-3), (12, 12, 3), 4),
}


def batches(shape: tuple[int, ...], classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Batches (DISTINCT_BATCHES, BATCH, *shape) of multiples of 1/64 with labels a linear teacher gives."""
    generator = np.random.default_rng(seed)
    x = np.round(generator.normal(size=(DISTINCT_BATCHES, BATCH, *shape)) * 64) / 64
    teacher = generator.normal(size=(int(np.prod(shape)), classes))
    y = np.argmax(x.reshape(DISTINCT_BATCHES, BATCH, -1) @ teacher, axis=-1)
    return x.astype(np.float32), y.astype(np.int32)


def starting_weights(model: Model, seed: int) -> list[np.ndarray]:
    """Glorot-sized kernels and slightly perturbed vectors, so that no weight sits at a special value."""
    generator = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        shape = tuple(weight.shape)
        if len(shape) > 1:
            field = int(np.prod(shape[:-2]))
            value = generator.normal(size=shape) * np.sqrt(2 / (field * (shape[-2] + shape[-1])))
        elif weight.name in ("gamma", "moving_variance"):
            value = 1 + 0.1 * generator.uniform(-1, 1, size=shape)
        else:
            value = 0.1 * generator.normal(size=shape)
        values.append(value.astype(np.float32))
    return values


def run(name: str, seed: int) -> dict[str, np.ndarray]:
    """Train one model in the current floatx; arrays as README.md names them."""
    build, make_optimizer, shape, classes = MODELS[name]
    set_random_seed(seed)
    model = build()
    x, y = batches(shape, classes, seed)
    initial = starting_weights(model, seed + 1)
    model.set_weights(initial)
    optimizer = make_optimizer()
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    flat = x.reshape(-1, *shape)
    record: dict[str, np.ndarray] = {"predictions_before": model.predict(flat, verbose=0)}
    losses, accuracies = [], []
    for step in range(STEPS):
        # train_on_batch resets the metrics first, so these are values of one batch.
        loss, accuracy = model.train_on_batch(x[step % DISTINCT_BATCHES], y[step % DISTINCT_BATCHES])
        losses.append(loss)
        accuracies.append(accuracy)
    record["losses"], record["accuracies"] = np.array(losses), np.array(accuracies)
    record["predictions_after"] = model.predict(flat, verbose=0)
    evaluation = model.evaluate(flat, y.reshape(-1), batch_size=BATCH, verbose=0)
    record["evaluation"] = np.array(evaluation)
    for index, weight in enumerate(model.get_weights()):
        record[f"final_{index:02d}"] = weight
    record |= {f"initial_{index:02d}": weight for index, weight in enumerate(initial)}
    record |= {"x": x, "y": y, "weight_names": np.array([weight.path for weight in model.weights])}
    configuration = optimizer.get_config()
    record["optimizer"] = np.array(json.dumps({"class": type(optimizer).__name__, "config": configuration}))
    return record


RUN_DEPENDENT = ("losses", "accuracies", "predictions_before", "predictions_after", "evaluation", "final_")


def main() -> None:
    """Without arguments: make all files, the float64 runs in a process of their own."""
    if sys.argv[1:2] == ["--float64"]:
        keras_setup.use_float64()
        for index, name in enumerate(MODELS):
            np.savez(Path(sys.argv[2]) / f"{name}.npz", **run(name, 100 * index))
        return
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, __file__, "--float64", scratch], check=True)
        for index, name in enumerate(MODELS):
            record = run(name, 100 * index)
            with np.load(Path(scratch) / f"{name}.npz") as exact:
                doubled = {f"{key}_float64": exact[key] for key in exact if key.startswith(RUN_DEPENDENT)}
            save(name, record, doubled)


def save(name: str, record: dict[str, np.ndarray], doubled: dict[str, np.ndarray]) -> None:
    """Store the float32 run and, rounded to float32 except for the curves, the float64 run."""
    for key, value in doubled.items():
        is_curve = value.ndim == 1 and key.startswith(("losses", "accuracies", "evaluation"))
        record[key] = value if is_curve else value.astype(np.float32)
    record["versions"] = np.array(json.dumps(keras_setup.versions()))
    path = FOLDER / f"training_{name}.npz"
    np.savez_compressed(path, **record)
    gap = np.max(np.abs(record["losses"] - record["losses_float64"]) / record["losses_float64"])
    weights = [key for key in record if key.startswith("final_") and not key.endswith("float64")]
    drift = max(float(np.max(np.abs(record[key] - record[f"{key}_float64"]))) for key in weights)
    print(f"{path.name}: {path.stat().st_size} bytes, loss {record['losses'][0]:.3f} -> ", end="")
    print(f"{record['losses'][-1]:.3f}, float32 against float64: loss {gap:.1e}, weights {drift:.1e}")


if __name__ == "__main__":
    main()
