"""The models, written once for graphcore and for Keras: `keras` is either module."""

from __future__ import annotations

import functools
from typing import Any

from benchmarks.generation import EPSILON, Generation
from benchmarks.workloads import CLASSES, WORKLOADS, Workload, workload_of


def build(keras: Any, name: str) -> Any:
    """A new Functional model of the workload `name`."""
    workload = workload_of(name)
    inputs = keras.Input(workload.input_shape)
    body = functools.partial(_lstm, workload=workload) if workload.masks else _BODIES[name]
    return keras.Model(inputs, body(keras.layers, inputs), name=name)


def build_generator(keras: Any, generation: Generation, length: int | None) -> Any:
    """A new model from tokens (batch, length) to logits (batch, length, vocabulary), with its weights."""

    class Places(keras.layers.Layer):  # type: ignore[misc]
        """Adds a learned vector for each place."""

        def build(self, shape: Any) -> None:
            self.table = self.add_weight(shape=(generation.length, shape[-1]), name="table")

        def call(self, x: Any) -> Any:
            return x + keras.ops.take(self.table, keras.ops.arange(keras.ops.shape(x)[1]), axis=0)

    layers, width = keras.layers, generation.width
    tokens = keras.Input((length,), dtype="int32")
    x = Places()(layers.Embedding(generation.vocabulary, width)(tokens))
    for _ in range(generation.blocks):
        normal = layers.LayerNormalization(epsilon=EPSILON)(x)
        attention = layers.MultiHeadAttention(generation.heads, generation.depth)
        x = x + attention(normal, normal, use_causal_mask=True)
        normal = layers.LayerNormalization(epsilon=EPSILON)(x)
        x = x + layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(normal))
    logits = layers.Dense(generation.vocabulary)(layers.LayerNormalization(epsilon=EPSILON)(x))
    model = keras.Model(tokens, logits, name=generation.name)
    model.set_weights(generation.weights())
    return model


def loss_of(keras: Any, name: str) -> Any:
    """The loss that the workload `name` trains with: `loss(targets, predictions)`."""
    losses = keras.losses
    makers = {
        "class": losses.CategoricalCrossentropy,
        "image": losses.MeanSquaredError,
        "binary": losses.BinaryCrossentropy,
        "token": functools.partial(losses.SparseCategoricalCrossentropy, from_logits=True),
    }
    return makers[workload_of(name).target]()


def accuracy_of(keras: Any, name: str) -> Any:
    """The accuracy that is kept beside the loss, or None where there is no such thing."""
    metrics = keras.metrics
    makers = {
        "class": metrics.CategoricalAccuracy,
        "binary": metrics.BinaryAccuracy,
        "token": metrics.SparseCategoricalAccuracy,
    }
    target = workload_of(name).target
    return makers[target](name="accuracy") if target in makers else None


def compile_for_training(keras: Any, model: Any) -> None:
    """Adam, the loss and the accuracy of the workload that the model was built for."""
    accuracy = accuracy_of(keras, model.name)
    metrics = None if accuracy is None else [accuracy]
    model.compile(optimizer="adam", loss=loss_of(keras, model.name), metrics=metrics)


def _mlp(layers: Any, x: Any) -> Any:
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dense(64, activation="relu")(x)
    return layers.Dense(CLASSES, activation="softmax")(x)


def _cnn(layers: Any, x: Any) -> Any:
    """Keras's CIFAR-10 example."""
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(0.25)(x)
    x = layers.Dense(512, activation="relu")(layers.Flatten()(x))
    return layers.Dense(CLASSES, activation="softmax")(layers.Dropout(0.5)(x))


def _resnet20(layers: Any, x: Any) -> Any:
    """ResNet-20 for 32 x 32 images (He et al. 2015, section 4.2), projections in the shortcuts."""
    x = _normalised(layers, layers.Conv2D(16, 3, padding="same", use_bias=False)(x))
    for filters in (16, 32, 64):
        for block in range(3):
            strides = 2 if filters > 16 and block == 0 else 1
            y = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
            y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(_normalised(layers, y))
            y = layers.BatchNormalization()(y)
            if strides == 2:
                x = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides=2, use_bias=False)(x))
            x = layers.ReLU()(layers.Add()([x, y]))
    return _classify(layers, x)


def _autoencoder(layers: Any, x: Any) -> Any:
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    for filters in (64, 32):
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu")(x)
    return layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid")(x)


def _mobilenet(layers: Any, x: Any) -> Any:
    """Depthwise separable blocks (Howard et al. 2017) for 32 x 32 images."""
    x = _normalised(layers, layers.Conv2D(32, 3, padding="same", use_bias=False)(x))
    for filters, strides in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        x = layers.Conv2D(filters, 1, use_bias=False)(_normalised(layers, x))
        x = _normalised(layers, x)
    return _classify(layers, x)


def _lstm(layers: Any, x: Any, workload: Workload = WORKLOADS["lstm"]) -> Any:
    """Sentiment: one recurrent layer over 80 words, or over those of 200 that are not padding."""
    x = layers.LSTM(128)(layers.Embedding(workload.vocabulary, 128, mask_zero=workload.masks)(x))
    return layers.Dense(1, activation="sigmoid")(x)


def _bigru(layers: Any, x: Any) -> Any:
    """The same with 64 units in either direction."""
    x = layers.Embedding(WORKLOADS["bigru"].vocabulary, 128)(x)
    return layers.Dense(1, activation="sigmoid")(layers.Bidirectional(layers.GRU(64))(x))


def _transformer(layers: Any, x: Any) -> Any:
    """Two encoder blocks of 128 x 128 (Vaswani et al. 2017), normalised after each sum."""
    workload = WORKLOADS["transformer"]
    x = layers.Embedding(workload.vocabulary, 128)(x)
    for _ in range(2):
        attended = layers.MultiHeadAttention(4, 32)(x, x)
        x = layers.LayerNormalization(epsilon=1e-6)(x + attended)
        fed = layers.Dense(128)(layers.Dense(512, activation="gelu")(x))
        x = layers.LayerNormalization(epsilon=1e-6)(x + fed)
    return layers.Dense(workload.classes, activation="softmax")(layers.GlobalAveragePooling1D()(x))


def _causal(layers: Any, x: Any) -> Any:
    """A language model of characters: two causal blocks of width 256, normalised before each part; logits."""
    workload = WORKLOADS["causal"]
    x = layers.Embedding(workload.vocabulary, 256)(x)
    for _ in range(2):
        normal = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.MultiHeadAttention(4, 64)(normal, normal, use_causal_mask=True)
        normal = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.Dense(256)(layers.Dense(1024, activation="gelu")(normal))
    return layers.Dense(workload.classes)(layers.LayerNormalization(epsilon=1e-6)(x))


def _normalised(layers: Any, x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization()(x))


def _classify(layers: Any, x: Any) -> Any:
    return layers.Dense(CLASSES, activation="softmax")(layers.GlobalAveragePooling2D()(x))


_BODIES = {
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet20": _resnet20,
    "autoencoder": _autoencoder,
    "mobilenet": _mobilenet,
    "lstm": _lstm,
    "bigru": _bigru,
    "transformer": _transformer,
    "causal": _causal,
}
