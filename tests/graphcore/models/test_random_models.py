"""Random models as people build them, as wide as people build them: what small graphs of primitives do not reach.

Which values a kernel stores, which it makes again and how its loops run depend on sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import graphcore
from compiler.interpret import interpret
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from graphcore import layers, optimizers
from graphcore.training.data.arrays import Batch

ACTIVATIONS = ("relu", "gelu", "tanh", "sigmoid", "silu", "elu", "softplus", None)
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "nadam", "lion")
# With Keras's epsilon of 1e-7 a step divides a gradient by its own size, and the rounding of a gradient near zero
# becomes as large as the step: what is compared with float64 has an epsilon as large as these models' gradients.
ADAPTIVE = (optimizers.Adam, optimizers.AdamW, optimizers.RMSprop, optimizers.Nadam, optimizers.Adamax)
SMOOTH_OPTIMIZERS = (optimizers.SGD, *(partial(kind, epsilon=1e-2) for kind in ADAPTIVE))
STEPS, VOCABULARY, BATCH = 21, 300, 3
# A float32 sum of a few thousand terms, and what the normalisations after it make of its rounding.
TOLERANCE = 2e-4

# Some layers take no mask, and say that they destroy it.
pytestmark = pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask:UserWarning")

Tensor = graphcore.KerasTensor
MakeModel = Callable[[Random], tuple[Tensor, Tensor]]
# Not made smaller when one fails, for that takes minutes: the note says what the model is.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)


def normalised(random: Random, x: Tensor) -> Tensor:
    kinds = (layers.LayerNormalization, layers.BatchNormalization, layers.RMSNormalization)
    return random.choice((*kinds, lambda: layers.GroupNormalization(4)))()(x)


def recurrent(random: Random, x: Tensor) -> Tensor:
    units, kind = random.choice((64, 128)), random.choice((layers.LSTM, layers.GRU, layers.SimpleRNN))
    layer = kind(units, return_sequences=True, dropout=random.choice((0.0, 0.2)))
    return layers.Bidirectional(layer)(x) if random.random() < 0.3 else layer(x)


def attention(random: Random, x: Tensor) -> Tensor:
    layer = layers.MultiHeadAttention(4, 16, dropout=random.choice((0.0, 0.1)))
    return layers.Add()([x, layer(x, x, use_causal_mask=random.random() < 0.5)])


def feed_forward(random: Random, x: Tensor) -> Tensor:
    y = layers.Dense(random.choice((64, 128)), activation=random.choice(ACTIVATIONS))(normalised(random, x))
    return layers.Add()([x, layers.Dense(x.shape[-1])(layers.Dropout(0.1)(y))])


def joined(random: Random, x: Tensor) -> Tensor:
    """What a layer makes of its input beside the input, as in DenseNet."""
    y = layers.Dense(x.shape[-1], activation=random.choice(ACTIVATIONS))(x)
    return layers.Concatenate()([x, layers.Dropout(0.2)(y) if random.random() < 0.5 else y])


def causal_convolution(random: Random, x: Tensor) -> Tensor:
    return layers.Conv1D(64, 3, padding="causal", activation=random.choice(ACTIVATIONS))(x)


def sequence_model(random: Random) -> tuple[Tensor, Tensor]:
    if random.random() < 0.6:
        inputs = graphcore.Input((random.choice((None, STEPS)),), dtype="int32")
        x = layers.Embedding(VOCABULARY, random.choice((64, 128)), mask_zero=random.random() < 0.7)(inputs)
    else:
        inputs = graphcore.Input((random.choice((None, STEPS)), 64))
        x = layers.Masking()(inputs) if random.random() < 0.5 else inputs
    for _ in range(random.randint(1, 3)):
        x = random.choice((recurrent, attention, feed_forward, joined, causal_convolution, normalised))(random, x)
    last = (layers.GlobalAveragePooling1D, lambda: layers.LSTM(128), lambda: layers.GRU(64), layers.GlobalMaxPooling1D)
    return inputs, random.choice(last)()(x)


def convolution(random: Random, x: Tensor) -> Tensor:
    y = layers.Conv2D(random.choice((16, 32)), 3, padding="same", strides=random.choice((1, 2)))(x)
    return layers.Activation(random.choice(ACTIVATIONS[:-1]))(normalised(random, y))


def separable(random: Random, x: Tensor) -> Tensor:
    return layers.SeparableConv2D(16, 3, padding="same", activation=random.choice(ACTIVATIONS))(x)


def transposed(random: Random, x: Tensor) -> Tensor:
    return layers.Conv2DTranspose(16, 3, strides=random.choice((1, 2)), padding="same")(x)


def residual(random: Random, x: Tensor) -> Tensor:
    y = layers.Conv2D(x.shape[-1], 3, padding="same", activation=random.choice(ACTIVATIONS))(x)
    return layers.Activation("relu")(layers.Add()([x, y]))


def gated(random: Random, x: Tensor) -> Tensor:
    gate = layers.Dense(x.shape[-1], activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply()([x, gate])


def image_model(random: Random) -> tuple[Tensor, Tensor]:
    size = random.choice((12, 17))
    inputs = graphcore.Input((size, size, 4))
    x = layers.Conv2D(16, 3, padding="same")(inputs)
    for _ in range(random.randint(1, 3)):
        x = random.choice((convolution, separable, transposed, residual, gated, joined))(random, x)
    if random.random() < 0.5:
        x = random.choice((layers.MaxPooling2D, layers.AveragePooling2D))(2, padding="same")(x)
    return inputs, random.choice((layers.GlobalAveragePooling2D, layers.Flatten))()(x)


def dense_model(random: Random) -> tuple[Tensor, Tensor]:
    inputs = graphcore.Input((random.choice((100, 256)),))
    x = inputs
    for _ in range(random.randint(1, 4)):
        x = layers.Dense(random.choice((64, 256)), activation=random.choice(ACTIVATIONS))(x)
        x = normalised(random, x) if random.random() < 0.5 else x
        x = layers.Dropout(0.3)(x) if random.random() < 0.5 else x
        x = joined(random, x) if random.random() < 0.5 else x
    return inputs, x


def training_batch(
    random: Random, make: MakeModel, optimizer: str | optimizers.Optimizer
) -> tuple[graphcore.Model, Batch]:
    """A compiled model for ten classes, and data for it."""
    graphcore.utils.set_random_seed(random.randrange(1000))
    inputs, x = make(random)
    model = graphcore.Model(inputs, layers.Dense(10, activation="softmax")(x))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    note(str([layer.get_config() for layer in model.layers]))
    rng = np.random.default_rng(random.randrange(1000))
    shape = (BATCH, *(extent or STEPS for extent in inputs.shape[1:]))
    words = inputs.dtype == "int32"
    data = rng.integers(0, VOCABULARY, shape) if words else rng.normal(size=shape)
    return model, Batch(data.astype(inputs.dtype), rng.integers(0, 10, BATCH).astype("int32"))


kinds_of_model = st.sampled_from((sequence_model, sequence_model, image_model, dense_model))
drawn = given(random=st.randoms(use_true_random=False), make=kinds_of_model)


@settings(relaxed, max_examples=40)
@drawn
def test_every_training_step_goes_through_all_passes(random: Random, make: MakeModel) -> None:
    model, batch = training_batch(random, make, random.choice(OPTIMIZERS))
    model.training_session.program(model, "train", batch).optimize()


@pytest.mark.slow
@settings(relaxed, max_examples=12)
@drawn
def test_a_compiled_step_is_as_near_to_float64_as_the_interpreter_in_float32(random: Random, make: MakeModel) -> None:
    model, batch = training_batch(random, make, random.choice(SMOOTH_OPTIMIZERS)())
    program = model.training_session.program(model, "train", batch)
    graph = differentiate(program.graph, PassContext())
    before = [np.array(variable.storage) for variable in program.variables]
    given_inputs = [array.astype(e.value.type.dtype) for array, e in zip((batch.x, batch.y), graph.inputs, strict=True)]

    def wide(arrays: list[np.ndarray]) -> list[np.ndarray]:
        return [array.astype("float64") if array.dtype == "float32" else array for array in arrays]

    _, exact = interpret(graph, wide(given_inputs), wide(before))
    _, plain = interpret(graph, given_inputs, before)
    after = [array.copy() for array in before]
    program.compiled.executable.run(given_inputs, after)
    places = {entry.name: place for place, entry in enumerate(graph.variables)}
    for name, true in exact.items():
        got, old = after[places[name]].astype("float64"), before[places[name]].astype("float64")
        change = float(np.abs(true - old).max(initial=0.0))
        allowed = 4 * float(np.abs(plain[name] - true).max(initial=0.0)) + TOLERANCE * change
        np.testing.assert_allclose(got, true, rtol=1e-6, atol=allowed + 1e-9, err_msg=name)
