"""The classic listings, with only the package's name changed."""

from __future__ import annotations

import numpy as np
import pytest

import graphcore as keras
from graphcore import layers
from graphcore.datasets import digits
from graphcore.layers import Dense, Input
from graphcore.models import Model, Sequential
from graphcore.utils import to_categorical


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    return x_train[:1000], y_train[:1000], x_test[:300], y_test[:300]


def test_a_sequential_classifier(capsys: pytest.CaptureFixture[str]) -> None:
    keras.utils.set_random_seed(1)
    model = Sequential()
    model.add(Dense(units=64, activation="relu", input_shape=(100,)))
    model.add(Dense(units=10, activation="softmax"))
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    model.summary()
    assert "6,464" in capsys.readouterr().out
    data = np.random.default_rng(0).random((512, 100)).astype("float32")
    labels = to_categorical((data.sum(axis=1) * 10).astype(int) % 10, num_classes=10)
    history = model.fit(data, labels, epochs=5, batch_size=32, verbose=0)
    assert sorted(history.history) == ["accuracy", "loss"]
    assert history.history["loss"][-1] < history.history["loss"][0]
    loss, accuracy = model.evaluate(data, labels, verbose=0)
    assert np.isfinite(loss)
    assert 0 <= accuracy <= 1
    assert model.predict(data[:3], verbose=0).shape == (3, 10)


def test_a_functional_model() -> None:
    input_layer = Input(shape=(8,))
    hidden = Dense(16, activation="relu")(input_layer)
    output_layer = Dense(1)(hidden)
    model = Model(inputs=input_layer, outputs=output_layer)
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    history = model.fit(x, x.sum(axis=1), epochs=10, validation_split=0.25, verbose=0)
    assert history.history["val_loss"][-1] < 0.5 * history.history["val_loss"][0]


def test_the_mnist_convnet(images: tuple[np.ndarray, ...]) -> None:
    x_train, y_train, x_test, y_test = images
    keras.utils.set_random_seed(0)
    x_train = np.expand_dims(x_train.astype("float32") / 255, -1)
    x_test = np.expand_dims(x_test.astype("float32") / 255, -1)
    model = keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    targets = keras.utils.to_categorical(y_train, 10)
    model.fit(x_train, targets, batch_size=64, epochs=5, validation_split=0.1, verbose=0)
    score = model.evaluate(x_test, keras.utils.to_categorical(y_test, 10), verbose=0)
    assert score[1] > 0.85


def test_the_cifar_convnet_takes_a_step() -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 255, (48, 32, 32, 3)).astype("uint8")
    y = generator.integers(0, 10, (48, 1))
    model = keras.models.Sequential()
    model.add(layers.Conv2D(32, (3, 3), activation="relu", input_shape=(32, 32, 3)))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(10))
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    losses = model.fit(x / 255.0, y, epochs=6, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_the_convolutional_autoencoder(images: tuple[np.ndarray, ...]) -> None:
    x = images[0][:512, ..., None].astype("float32") / 255
    keras.utils.set_random_seed(0)
    inputs = layers.Input(shape=(28, 28, 1))
    h = layers.Conv2D(16, (3, 3), activation="relu", padding="same")(inputs)
    h = layers.MaxPooling2D((2, 2), padding="same")(h)
    h = layers.Conv2D(16, (3, 3), activation="relu", padding="same")(h)
    h = layers.MaxPooling2D((2, 2), padding="same")(h)
    h = layers.Conv2DTranspose(16, (3, 3), strides=2, activation="relu", padding="same")(h)
    h = layers.Conv2DTranspose(16, (3, 3), strides=2, activation="relu", padding="same")(h)
    decoded = layers.Conv2D(1, (3, 3), activation="sigmoid", padding="same")(h)
    autoencoder = Model(inputs, decoded)
    autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
    losses = autoencoder.fit(x, x, epochs=6, batch_size=32, shuffle=True, verbose=0).history["loss"]
    assert losses[-1] < 0.35
    assert autoencoder.predict(x[:5], verbose=0).shape == (5, 28, 28, 1)


class Scaled(layers.Layer):
    """A layer as users write them."""

    def __init__(self, units: int, **options: object) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="kernel")
        self.scale = self.add_weight(shape=(self.units,), initializer="ones", name="scale")

    def call(self, inputs):  # type: ignore[no-untyped-def]
        return keras.ops.tanh(keras.ops.matmul(inputs, self.kernel)) * self.scale


class Branching(keras.Model):
    """A subclassed model whose call has two branches and a Python loop."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [Scaled(16) for _ in range(3)]
        self.head = layers.Dense(1)

    def call(self, inputs, training=False):  # type: ignore[no-untyped-def]
        x = self.blocks[0](inputs)
        for block in self.blocks[1:]:
            x = x + block(x)
        return self.head(x)


def test_subclassed_layers_and_models_are_traced() -> None:
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(128, 5)).astype("float32")
    model = Branching()
    model.compile("adam", "mse")
    losses = model.fit(x, x[:, :1] * x[:, 1:2], epochs=20, batch_size=32, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert len(model.trainable_weights) == 8
