"""A small convolution net as graphs: its training step and its prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import compiler.ops  # noqa: F401  (fills the registry)
from compiler import functions as f
from compiler.ir import Builder, Graph, Value
from compiler.passes.differentiate import emit_gradient
from compiler.types import TensorType
from runtime.dimensions import symbol

BATCH = symbol("batch")
CLASSES = 5

# Name and shape of every trainable weight, in the order of the layers.
WEIGHTS = {
    "conv1.kernel": (3, 3, 1, 4),
    "conv1.bias": (4,),
    "norm.gamma": (4,),
    "norm.beta": (4,),
    "conv2.kernel": (3, 3, 4, 3),
    "dense.kernel": (12, CLASSES),
    "dense.bias": (CLASSES,),
}
STATISTICS = {"norm.moving_mean": (4,), "norm.moving_variance": (4,)}


def logits_of(b: Builder, x: Value, weights: dict[str, Value], training: bool) -> tuple[Value, dict[str, Value]]:
    """The network, and the statistics of the batch if training."""
    with b.scope(layer="conv1"):
        h = f.convolution(b, x, weights["conv1.kernel"], padding="same")
        h = f.relu(b, f.add(b, h, weights["conv1.bias"]))
    statistics: dict[str, Value] = {}
    with b.scope(layer="norm"):
        if training:
            h, mean, variance = f.batch_normalization(b, h, weights["norm.gamma"], weights["norm.beta"])
            statistics = {"norm.moving_mean": mean, "norm.moving_variance": variance}
        else:
            moving = [weights[name] for name in STATISTICS]
            h = f.normalize_with(b, h, *moving, weights["norm.gamma"], weights["norm.beta"])
    with b.scope(layer="pool"):
        h = f.max_pool(b, h, 2)
    with b.scope(layer="conv2"):
        h = f.convolution(b, h, weights["conv2.kernel"], strides=2, padding="same")
        h = f.average_pool(b, f.gelu(b, h), 2, strides=1, padding="same")
    with b.scope(layer="dense"):
        h = f.matmul(b, f.reshape(b, h, (BATCH, 12)), weights["dense.kernel"])
        return f.add(b, h, weights["dense.bias"]), statistics


def adam(b: Builder, name: str, weight: Value, gradient: Value, step: Value) -> None:
    """Kingma and Ba, 2015, with the step size corrected as Keras does."""
    type_ = weight.type
    first, second = (b.variable(f"adam.{name}.{slot}", type_) for slot in ("m", "v"))
    m = f.add(b, f.multiply(b, first, 0.9), f.multiply(b, gradient, 0.1))
    v = f.add(b, f.multiply(b, second, 0.999), f.multiply(b, f.square(b, gradient), 0.001))
    one = f.full(b, (), 1.0, "float32")
    scale = f.divide(
        b,
        f.sqrt(b, f.subtract(b, one, f.power(b, f.full(b, (), 0.999, "float32"), step))),
        f.subtract(b, one, f.power(b, f.full(b, (), 0.9, "float32"), step)),
    )
    move = f.divide(b, f.multiply(b, m, f.multiply(b, scale, 0.01)), f.add(b, f.sqrt(b, v), 1e-7))
    b.update(f"adam.{name}.m", m)
    b.update(f"adam.{name}.v", v)
    b.update(name, f.subtract(b, weight, move))


def train_graph() -> Graph:
    """Forward, loss, backward, Adam, moving statistics, a metric and a counter."""
    b = Builder("train")
    x = b.input("x", TensorType((BATCH, 8, 8, 1)))
    labels = b.input("labels", TensorType((BATCH,), "int64"))
    weights = {name: b.variable(name, TensorType(shape)) for name, shape in WEIGHTS.items()}
    moving = {name: b.variable(name, TensorType(shape)) for name, shape in STATISTICS.items()}
    iterations = b.variable("iterations", TensorType((), "int64"))
    correct = b.variable("correct", TensorType(()))
    logits, statistics = logits_of(b, x, weights, training=True)
    target = f.one_hot(b, labels, CLASSES)
    losses = f.negative(b, f.reduce_sum(b, f.multiply(b, f.log_softmax(b, logits), target), (1,)))
    loss = f.mean(b, losses)
    gradients = emit_gradient(b, loss, list(weights.values()))
    step = f.add(b, iterations, 1)
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        adam(b, name, weight, gradient, f.cast(b, step, "float32"))
    for name, value in statistics.items():
        b.update(name, f.add(b, f.multiply(b, moving[name], 0.99), f.multiply(b, value, 0.01)))
    hit = f.cast(b, f.equal(b, f.argmax(b, logits, 1), labels), "float32")
    b.update("correct", f.add(b, correct, f.reduce_sum(b, hit)))
    b.update("iterations", step)
    b.output("loss", loss)
    return b.build()


def predict_graph() -> Graph:
    """Probabilities."""
    b = Builder("predict")
    x = b.input("x", TensorType((BATCH, 8, 8, 1)))
    weights = {name: b.variable(name, TensorType(shape)) for name, shape in (WEIGHTS | STATISTICS).items()}
    logits, _ = logits_of(b, x, weights, training=False)
    b.output("probabilities", f.softmax(b, logits))
    return b.build()


def state_of(graph: Graph) -> list[np.ndarray]:
    """A value for each variable: second moments and variances are positive."""
    rng = np.random.default_rng(5)
    arrays = []
    for entry in graph.variables:
        array = rng.normal(size=entry.value.type.shape) * 0.4
        array = np.abs(array) + 0.1 if entry.name.endswith((".v", "variance")) else array
        arrays.append(np.asarray(array).astype(entry.value.type.dtype))
        if entry.name == "iterations":
            arrays[-1] = np.array(3)
    return arrays


@pytest.fixture(scope="session")
def make_train_graph() -> Callable[[], Graph]:
    return train_graph


@pytest.fixture(scope="session")
def make_predict_graph() -> Callable[[], Graph]:
    return predict_graph


@pytest.fixture(scope="session")
def make_state() -> Callable[[Graph], list[np.ndarray]]:
    return state_of
