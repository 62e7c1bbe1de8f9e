"""What each Keras layer computes: outputs and gradients of the cases in layer_cases.py.

Made with Keras 3.15.1 on JAX 0.10.2 (CPU), in float64. Run `python make_layer_references.py` in an
environment as keras_setup.py describes. The structure of layers.json is in README.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import keras_setup
import layer_cases
import numpy as np
from reference_arrays import CaseWriter

keras_setup.use_float64()

import jax
import keras
from jax import numpy as jnp


def exact(values: np.ndarray) -> np.ndarray:
    """Float64 values that float32 holds exactly."""
    return values.astype(np.float32).astype(np.float64)


def distinct(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Shuffled, unequal values about -2 to 2, none within 0.01 of a multiple of 0.1: no ties, no bends."""
    count = int(np.prod(shape))
    cells = (np.arange(count) - count // 2) * max(4.0 / count, 0.02)
    tenths = np.floor(cells * 10) / 10
    return exact(generator.permutation(tenths + 0.01 + 0.8 * (cells - tenths)).reshape(shape))


def weight_values(generator: np.random.Generator, layer: Any) -> list[np.ndarray]:
    """Kernels of ordinary size; scales and variances are positive and not one."""
    values = []
    for weight in layer.weights:
        shape = tuple(weight.shape)
        if weight.name in ("gamma", "scale", "moving_variance", "alpha"):
            values.append(exact(generator.uniform(0.5, 1.5, size=shape)))
        elif len(shape) > 1:
            values.append(exact(generator.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))))
        else:
            values.append(exact(0.3 * generator.normal(size=shape)))
    return values


def call_layer(layer: Any, inputs: list[np.ndarray], call: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    """Output, pullback and non-trainable values after the call; differentiable in weights and inputs."""
    fixed = [variable.value for variable in layer.non_trainable_variables]

    def function(trainable: list[Any], arguments: list[Any]) -> tuple[Any, list[Any]]:
        argument = arguments if len(arguments) > 1 else arguments[0]
        return layer.stateless_call(trainable, fixed, argument, **call)

    trainable = [variable.value for variable in layer.trainable_variables]
    arguments = [jnp.asarray(value) for value in inputs]
    return jax.vjp(function, trainable, arguments, has_aux=True)


def weights_after(writer: CaseWriter, layer: Any, fixed: list[Any]) -> list[str]:
    """Set what the call changed, then keep all weights."""
    for variable, value in zip(layer.non_trainable_variables, fixed, strict=True):
        variable.assign(value)
    return [writer.store(weight) for weight in layer.get_weights()]


def add_case(writer: CaseWriter, row: layer_cases.Row, inputs: list[np.ndarray], seed: int) -> None:
    name, class_name, kwargs, _, call = row
    generator = np.random.default_rng(seed)
    layer = getattr(keras.layers, class_name)(**tupled(kwargs))
    shapes = [array.shape for array in inputs]
    layer.build(shapes if len(shapes) > 1 else shapes[0])
    layer.set_weights(weight_values(generator, layer))
    entry: dict[str, Any] = {"class": class_name, "kwargs": kwargs, "call": call}
    entry["inputs"] = [writer.store(array) for array in inputs]
    entry["weights"] = [
        {"name": weight.name, "key": writer.store(value), "trainable": weight.trainable}
        for weight, value in zip(layer.weights, layer.get_weights(), strict=True)
    ]
    output, pullback, fixed = call_layer(layer, inputs, call)
    cotangent = exact(generator.normal(size=output.shape))
    weight_gradients, input_gradients = pullback(jnp.asarray(cotangent))
    entry["output"], entry["cotangent"] = writer.store(output), writer.store(cotangent)
    entry["input_gradients"] = [writer.store(array) for array in input_gradients]
    entry["weight_gradients"] = [writer.store(array) for array in weight_gradients]
    if class_name == "BatchNormalization":
        entry["weights_after"] = weights_after(writer, layer, fixed)
        again = [exact(0.5 * array + 0.25) for array in inputs]
        output, _, fixed = call_layer(layer, again, call)
        entry["second"] = {
            "inputs": [writer.store(array) for array in again],
            "output": writer.store(output),
            "weights_after": weights_after(writer, layer, fixed),
        }
    writer.add(name, **entry)


def tupled(kwargs: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples; Keras wants some (`kernel_size`), and lists for axes."""
    return {
        key: tuple(value) if isinstance(value, list) and "axis" not in key and "axes" not in key else value
        for key, value in kwargs.items()
    }


def add_activations(writer: CaseWriter, generator: np.random.Generator) -> None:
    """Each named activation at ordinary and at large inputs."""
    x = distinct(generator, (8, 24))
    x[4:6] *= 3.0
    x[6] *= 16.0
    x[7, :6] = [-30.25, -12.5, -0.015625, 0.015625, 12.5, 30.25]
    for name in layer_cases.ACTIVATIONS:
        row = (f"activation_{name}", "Activation", {"activation": name}, [], {})
        add_case(writer, row, [exact(x)], 7)
    for approximate in (False, True):
        function = jax.vjp(lambda value, mode=approximate: keras.activations.gelu(value, approximate=mode), x)
        cotangent = exact(np.random.default_rng(8).normal(size=x.shape))
        writer.add(
            f"function_gelu_{'tanh' if approximate else 'erf'}",
            **{"class": "function", "kwargs": {"name": "gelu", "approximate": approximate}, "call": {}},
            inputs=[writer.store(x)], weights=[], output=writer.store(function[0]),
            cotangent=writer.store(cotangent), weight_gradients=[],
            input_gradients=[writer.store(function[1](jnp.asarray(cotangent))[0])],
        )  # fmt: skip


def add_embeddings(writer: CaseWriter) -> None:
    """Integer inputs have no gradient; a repeated row of the table sums its gradients."""
    generator = np.random.default_rng(9)
    ids = generator.integers(0, 6, size=(3, 5)).astype(np.int32)
    layer = keras.layers.Embedding(6, 4)
    layer.build((3, 5))
    layer.set_weights([exact(generator.normal(size=(6, 4)))])
    table = layer.trainable_variables[0].value
    output, pullback = jax.vjp(lambda value: layer.stateless_call([value], [], ids)[0], table)
    cotangent = exact(generator.normal(size=output.shape))
    writer.add(
        "embedding",
        **{"class": "Embedding", "kwargs": {"input_dim": 6, "output_dim": 4}, "call": {}},
        inputs=[writer.store(ids)], output=writer.store(output), cotangent=writer.store(cotangent),
        weights=[{"name": "embeddings", "key": writer.store(table), "trainable": True}],
        input_gradients=[None], weight_gradients=[writer.store(pullback(jnp.asarray(cotangent))[0])],
    )  # fmt: skip


def add_rows(writer: CaseWriter, rows: Iterable[layer_cases.Row]) -> None:
    for row in rows:
        # One seed a shape, not a case: equal inputs are then stored once.
        inputs = [
            distinct(np.random.default_rng(zlib.crc32(str((index, shape)).encode())), shape)
            for index, shape in enumerate(row[3])
        ]
        add_case(writer, row, inputs, zlib.crc32(row[1].encode()))


def main() -> None:
    writer = CaseWriter("layers")
    add_rows(writer, layer_cases.rows())
    add_activations(writer, np.random.default_rng(6))
    add_embeddings(writer)
    add_rows(writer, layer_cases.series_rows())
    writer.write(keras_setup.versions())


if __name__ == "__main__":
    main()
