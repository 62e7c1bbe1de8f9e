"""What Keras's recurrent layers compute: outputs, states and gradients of the cases in recurrent_cases.py; batch after
batch of stateful layers; training steps of models of them.

Made with Keras 3.15.1 on JAX 0.10.2 (CPU), in float64. Run `python make_recurrent_references.py` in an environment as
keras_setup.py describes. The structure of recurrent.json is in README.md.
"""

from __future__ import annotations

import zlib
from typing import Any

import keras_setup
import numpy as np
from reference_arrays import CaseWriter

keras_setup.use_float64()

import jax
import keras
import recurrent_cases
from jax import numpy as jnp
from keras import layers


def exact(values: np.ndarray) -> np.ndarray:
    """Float64 values that float32 holds exactly."""
    return values.astype(np.float32).astype(np.float64)


def weight_values(generator: np.random.Generator, layer: Any) -> list[np.ndarray]:
    """Kernels of ordinary size, biases that are not zero."""
    values = []
    for weight in layer.weights:
        shape = tuple(weight.shape)
        scale = 0.3 if weight.name == "bias" else 1 / np.sqrt(np.prod(shape[:-1]))
        value = exact(scale * generator.normal(size=shape))
        values.append(np.abs(value) + 0.5 if weight.name in ("gamma", "moving_variance") else value)
    return values


def mask_of(name: str | None) -> np.ndarray | None:
    """One of the masks of recurrent_cases.py."""
    return None if name is None else np.array([[c == "1" for c in row] for row in recurrent_cases.MASKS[name]])


def plain(config: Any) -> Any:
    """A configuration as JSON reads it back."""
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items()}
    return [plain(item) for item in config] if isinstance(config, (list, tuple)) else config


def float32(config: Any) -> Any:
    """A configuration with float32 in the place of float64."""
    if isinstance(config, dict):
        return {key: float32(value) for key, value in config.items()}
    if isinstance(config, list):
        return [float32(item) for item in config]
    return "float32" if config == "float64" else config


def add_case(writer: CaseWriter, row: recurrent_cases.Row) -> None:
    """Outputs and gradients of one call."""
    generator = np.random.default_rng(zlib.crc32(row.name.encode()))
    layer = row.layer
    entry: dict[str, Any] = {"layer": float32(plain(keras.saving.serialize_keras_object(layer)))}
    layer.build(row.shape)
    layer.set_weights(weight_values(generator, layer))
    x = exact(np.random.default_rng(3).normal(size=row.shape))
    initial = [exact(generator.normal(size=shape)) for shape in row.initial]
    mask = mask_of(row.mask)

    def function(trainable: list[Any], sequences: Any, states: list[Any]) -> Any:
        fixed = [variable.value for variable in layer.non_trainable_variables]
        options = dict(row.call)
        if mask is not None:
            options["mask"] = mask
        if states:
            options["initial_state"] = states
        outputs, _ = layer.stateless_call(trainable, fixed, sequences, **options)
        return keras.tree.flatten(outputs)

    trainable = [variable.value for variable in layer.trainable_variables]
    outputs, pullback = jax.vjp(function, trainable, jnp.asarray(x), [jnp.asarray(state) for state in initial])
    cotangents = [exact(generator.normal(size=output.shape)) for output in outputs]
    gradients, of_x, of_initial = pullback([jnp.asarray(cotangent) for cotangent in cotangents])
    entry |= {"input": writer.store(x), "initial": [writer.store(state) for state in initial], "call": row.call}
    entry["mask"] = None if mask is None else writer.store(mask)
    entry["weights"] = [
        {"name": weight.name, "key": writer.store(value)}
        for weight, value in zip(layer.weights, layer.get_weights(), strict=True)
    ]
    entry["outputs"] = [writer.store(output) for output in outputs]
    entry["cotangents"] = [writer.store(cotangent) for cotangent in cotangents]
    entry["gradients"] = [writer.store(value) for value in (*gradients, of_x, *of_initial)]
    writer.add(row.name, **entry)


def add_stateful(writer: CaseWriter, name: str, layer: Any, mask_name: str | None) -> None:
    """Three batches, a reset after the second where Keras can (it cannot with stacked cells)."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    entry = {"layer": float32(plain(keras.saving.serialize_keras_object(layer)))}
    layer.build(recurrent_cases.SHAPE)
    layer.set_weights(weight_values(generator, layer))
    mask = mask_of(mask_name)
    batches = [exact(generator.normal(size=recurrent_cases.SHAPE)) for _ in range(3)]
    results = []
    resets = not hasattr(layer.cell, "cells")
    for number, batch in enumerate(batches):
        if number == 2 and resets:
            layer.reset_state()
        outputs = keras.tree.flatten(layer(batch, mask=mask))
        results.append([writer.store(output) for output in outputs])
    entry["batches"] = [writer.store(batch) for batch in batches]
    entry["mask"] = None if mask is None else writer.store(mask)
    entry["weights"] = [
        {"name": weight.name, "key": writer.store(value)}
        for weight, value in zip(layer.weights, layer.get_weights(), strict=True)
    ]
    entry |= {"results": results, "resets": resets}
    writer.add(name, **entry)


def tagger() -> Any:
    """A label for each step of padded sequences: the mask reaches the loss and the metric."""
    return keras.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True, name="words"),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True, name="both"), name="around"),
            layers.GRU(5, return_sequences=True, name="gru"),
            layers.TimeDistributed(layers.Dense(3, activation="softmax", name="label"), name="labels"),
        ],
        name="tagger",
    )


def classifier() -> Any:
    """One label a sequence."""
    return keras.Sequential(
        [
            layers.Input((None, 3)),
            layers.Masking(name="padding"),
            layers.RNN(
                [layers.GRUCell(5, reset_after=False, name="low"), layers.LSTMCell(4, name="high")], name="deep"
            ),
            layers.Dense(3, activation="softmax", name="label"),
        ],
        name="classifier",
    )


def add_training(writer: CaseWriter, name: str, model: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Eight steps of Adam on two batches in turn."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    model.set_weights([exact(0.4 * generator.normal(size=weight.shape)) for weight in model.weights])
    entry: dict[str, Any] = {
        "model": float32(plain(keras.saving.serialize_keras_object(model))),
        "x": writer.store(x),
        "y": writer.store(y),
        "paths": [weight.path for weight in model.weights],
        "initial": [writer.store(value) for value in model.get_weights()],
    }
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    logs = [model.train_on_batch(x[step % 2], y[step % 2]) for step in range(8)]
    entry["logs"] = writer.store(np.array(logs, np.float64))
    entry["final"] = [writer.store(value) for value in model.get_weights()]
    entry["prediction"] = writer.store(model.predict_on_batch(x[0]))
    writer.add(name, **entry)


def main() -> None:
    writer = CaseWriter("recurrent")
    for row in recurrent_cases.rows():
        add_case(writer, row)
    everything = {"stateful": True, "return_sequences": True, "return_state": True}
    add_stateful(writer, "stateful_lstm", layers.LSTM(4, **everything), None)
    add_stateful(writer, "stateful_gru_masked", layers.GRU(4, unroll=True, **everything), "mixed")
    add_stateful(writer, "stateful_stacked", layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], **everything), None)
    generator = np.random.default_rng(17)
    words = generator.integers(1, 20, size=(2, 4, 7)).astype(np.int32)
    for row, length in enumerate((7, 4, 2, 5)):
        words[:, row, length:] = 0
    add_training(writer, "training_tagger", tagger(), words, generator.integers(0, 3, size=(2, 4, 7)).astype(np.int32))
    signal = exact(generator.normal(size=(2, 4, 6, 3)))
    signal[:, 1, 3:] = 0
    signal[:, 2, :2] = 0
    labels = generator.integers(0, 3, size=(2, 4)).astype(np.int32)
    add_training(writer, "training_classifier", classifier(), signal, labels)
    writer.write(keras_setup.versions())


if __name__ == "__main__":
    main()
