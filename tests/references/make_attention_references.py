"""What Keras's attention layers compute: outputs, weights and gradients of the cases in attention_cases.py; training
steps of models of them; keras.ops.dot_product_attention.

Made with Keras 3.15.1 on JAX 0.10.2 (CPU), in float64. Run `python make_attention_references.py` in an environment as
keras_setup.py describes. The structure of attention.json is in README.md.
"""

from __future__ import annotations

import zlib
from typing import Any

import attention_cases
import keras_setup
import numpy as np
from reference_arrays import CaseWriter

keras_setup.use_float64()

import jax
import keras
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
        values.append(exact(scale * generator.normal(size=shape)))
    return values


def plain(config: Any) -> Any:
    """A configuration as JSON reads it back, with float32 in the place of float64."""
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [plain(item) for item in config]
    return "float32" if config == "float64" else config


def masks_of(row: attention_cases.Row, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """The masks of a case by argument."""
    rows = {name: attention_cases.MASKS[mask] for name, mask in row.masks.items()}
    masks = {name: np.array([[c == "1" for c in line] for line in lines]) for name, lines in rows.items()}
    if row.attention_mask is not None:
        masks["attention_mask"] = generator.random(row.attention_mask) < 0.7
    return masks


def call(layer: Any, row: attention_cases.Row, trainable: list[Any], inputs: list[Any], masks: dict[str, Any]) -> Any:
    """The outputs, flat. A query mask must be a Keras mask: MultiHeadAttention looks at nothing else."""
    fixed = [variable.value for variable in layer.non_trainable_variables]
    if row.as_list:
        options = {"mask": [masks.get("query_mask"), masks.get("value_mask")]} if masks else {}
        outputs, _ = layer.stateless_call(trainable, fixed, inputs, **row.call, **options)
        return keras.tree.flatten(outputs)
    options = {name: mask for name, mask in masks.items() if name != "query_mask"}
    if "query_mask" in masks:
        keras.src.backend.set_keras_mask(inputs[0], jnp.asarray(masks["query_mask"]))
    named = dict(zip(("value", "key"), inputs[1:], strict=False))
    outputs, _ = layer.stateless_call(trainable, fixed, inputs[0], **named, **row.call, **options)
    return keras.tree.flatten(outputs)


def add_case(writer: CaseWriter, row: attention_cases.Row) -> None:
    """Outputs and gradients of one call."""
    generator = np.random.default_rng(zlib.crc32(row.name.encode()))
    kwargs = {key: tuple(value) if isinstance(value, list) else value for key, value in row.kwargs.items()}
    layer = getattr(layers, row.layer)(**kwargs)
    inputs = [exact(np.random.default_rng(5 + i).normal(size=shape)) for i, shape in enumerate(row.inputs)]
    if row.as_list:
        layer.build(list(row.inputs))
    else:
        layer.build(*row.inputs)
    layer.set_weights(weight_values(generator, layer))
    masks = masks_of(row, generator)
    trainable = [variable.value for variable in layer.trainable_variables]
    outputs, pullback = jax.vjp(
        lambda weights, tensors: call(layer, row, weights, tensors, masks),
        trainable, [jnp.asarray(value) for value in inputs],
    )  # fmt: skip
    cotangents = [exact(generator.normal(size=output.shape)) for output in outputs]
    of_weights, of_inputs = pullback([jnp.asarray(cotangent) for cotangent in cotangents])
    writer.add(
        row.name,
        **{"class": row.layer, "kwargs": row.kwargs, "call": row.call, "as_list": row.as_list},
        inputs=[writer.store(value) for value in inputs],
        masks={name: writer.store(mask) for name, mask in masks.items()},
        weights=[
            {"name": weight.path.split("/", 1)[-1], "key": writer.store(value)}
            for weight, value in zip(layer.weights, layer.get_weights(), strict=True)
        ],
        outputs=[writer.store(output) for output in outputs],
        cotangents=[writer.store(cotangent) for cotangent in cotangents],
        gradients=[writer.store(value) for value in (*of_weights, *of_inputs)],
    )


def add_function(writer: CaseWriter, name: str, kwargs: dict[str, Any], **tensors: np.ndarray) -> None:
    """`keras.ops.dot_product_attention`, with gradients of the floating tensors."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    floating = {key: jnp.asarray(value) for key, value in tensors.items() if value.dtype != bool}
    rest = {key: value for key, value in tensors.items() if value.dtype == bool}
    output, pullback = jax.vjp(lambda given: keras.ops.dot_product_attention(**given, **rest, **kwargs), floating)
    cotangent = exact(generator.normal(size=output.shape))
    writer.add(
        name,
        **{"class": "dot_product_attention", "kwargs": kwargs},
        tensors={key: writer.store(value) for key, value in tensors.items()},
        output=writer.store(output), cotangent=writer.store(cotangent),
        gradients={key: writer.store(value) for key, value in pullback(jnp.asarray(cotangent))[0].items()},
    )  # fmt: skip


def add_functions(writer: CaseWriter) -> None:
    generator = np.random.default_rng(3)

    def tensors(queries: int, keys: int, heads: int, key_heads: int) -> dict[str, np.ndarray]:
        return {
            "query": exact(generator.normal(size=(2, queries, heads, 4))),
            "key": exact(generator.normal(size=(2, keys, key_heads, 4))),
            "value": exact(generator.normal(size=(2, keys, key_heads, 4))),
        }

    add_function(writer, "function", {}, **tensors(3, 5, 2, 2))
    add_function(writer, "function_scale", {"scale": 0.3}, **tensors(3, 5, 2, 2))
    add_function(writer, "function_causal", {"is_causal": True}, **tensors(5, 5, 2, 2))
    add_function(writer, "function_causal_wide", {"is_causal": True}, **tensors(3, 5, 2, 2))
    add_function(writer, "function_groups", {"is_causal": True}, **tensors(4, 4, 4, 2))
    add_function(writer, "function_bias", {}, **tensors(3, 5, 2, 2), bias=exact(generator.normal(size=(1, 2, 3, 5))))
    mask = generator.random((2, 1, 3, 5)) < 0.6
    mask[1, 0, 2] = False
    add_function(writer, "function_mask", {}, **tensors(3, 5, 2, 2), mask=mask)
    bias = exact(generator.normal(size=(2, 1, 4, 4)))
    mask = generator.random((1, 2, 4, 4)) < 0.8
    add_function(writer, "function_everything", {"is_causal": True, "scale": 0.7}, **tensors(4, 4, 2, 1),
                 bias=bias, mask=mask)  # fmt: skip


def transformer() -> Any:
    """Two blocks that predict the next of 11 characters: causal, pre-normalised, with a learned position."""
    tokens = layers.Input((None,), dtype="int32", name="tokens")
    positions = layers.Input((None,), dtype="int32", name="positions")
    x = layers.Add(name="sum")([
        layers.Embedding(11, 8, name="characters")(tokens), layers.Embedding(9, 8, name="places")(positions),
    ])  # fmt: skip
    for i in range(2):
        y = layers.LayerNormalization(epsilon=1e-5, name=f"norm{i}a")(x)
        y = layers.MultiHeadAttention(2, 4, name=f"attention{i}")(y, y, use_causal_mask=True)
        x = layers.Add(name=f"add{i}a")([x, y])
        y = layers.LayerNormalization(epsilon=1e-5, name=f"norm{i}b")(x)
        y = layers.Dense(16, activation="gelu", name=f"wide{i}")(y)
        x = layers.Add(name=f"add{i}b")([x, layers.Dense(8, name=f"narrow{i}")(y)])
    outputs = layers.Dense(11, activation="softmax", name="next")(x)
    return keras.Model([tokens, positions], outputs, name="transformer")


def translator() -> Any:
    """Words of one language see padded words of another, by their Keras mask.

    Attention comes before MultiHeadAttention, which in Keras takes the masks of its inputs away from them.
    """
    source = layers.Input((None,), dtype="int32", name="source")
    target = layers.Input((None,), dtype="int32", name="target")
    memory = layers.Embedding(9, 6, mask_zero=True, name="source_words")(source)
    x = layers.Embedding(7, 6, name="target_words")(target)
    x = layers.GroupQueryAttention(3, 4, 2, name="own")(x, x, use_causal_mask=True)
    attended = layers.Attention(use_scale=True, name="plain")([x, memory])
    x = layers.MultiHeadAttention(2, 3, name="other")(layers.Add(name="add")([x, attended]), memory)
    x = layers.RMSNormalization(name="norm")(x)
    return keras.Model([source, target], layers.Dense(7, activation="softmax", name="word")(x), name="translator")


def add_training(writer: CaseWriter, name: str, model: Any, x: list[np.ndarray], y: np.ndarray) -> None:
    """Eight steps of Adam on two batches in turn.

    The gradient of a key's bias is 0, since all scores of a query move alike, and in float32 some 1e-9 of noise. Adam
    divides it by its own size plus epsilon: by default 1e-7, and what is compared would be the noise.
    """
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    model.set_weights(
        [exact(np.ones(w.shape) if w.name in ("gamma", "scale") else 0.4 * generator.normal(size=w.shape))
         for w in model.weights]
    )  # fmt: skip
    entry: dict[str, Any] = {
        "model": plain(keras.saving.serialize_keras_object(model)),
        "x": [writer.store(part) for part in x],
        "y": writer.store(y),
        "paths": [weight.path for weight in model.weights],
        "initial": [writer.store(value) for value in model.get_weights()],
    }
    model.compile(keras.optimizers.Adam(0.02, epsilon=1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    logs = [model.train_on_batch([part[step % 2] for part in x], y[step % 2]) for step in range(8)]
    entry["logs"] = writer.store(np.array(logs, np.float64))
    entry["final"] = [writer.store(value) for value in model.get_weights()]
    entry["prediction"] = writer.store(model.predict_on_batch([part[0] for part in x]))
    writer.add(name, **entry)


def padded(generator: np.random.Generator, words: int, lengths: tuple[int, ...], width: int) -> np.ndarray:
    """Two batches of words from 1 on, with zeros behind them."""
    array = generator.integers(1, words, size=(2, len(lengths), width)).astype(np.int32)
    for row, length in enumerate(lengths):
        array[:, row, length:] = 0
    return array


def main() -> None:
    writer = CaseWriter("attention")
    for row in attention_cases.rows():
        add_case(writer, row)
    add_functions(writer)
    generator = np.random.default_rng(17)
    tokens = generator.integers(0, 11, size=(2, 4, 9)).astype(np.int32)
    places = np.broadcast_to(np.arange(9, dtype=np.int32), tokens.shape)
    add_training(writer, "training_transformer", transformer(), [tokens, places], np.roll(tokens, -1, 2))
    source = padded(generator, 9, (6, 3, 5, 1), 6)
    target = padded(generator, 7, (2, 5, 4, 3), 5)
    labels = generator.integers(0, 7, size=target.shape).astype(np.int32)
    add_training(writer, "training_translator", translator(), [source, target], labels)
    writer.write(keras_setup.versions())


if __name__ == "__main__":
    main()
