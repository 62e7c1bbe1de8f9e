"""The demo's network on the simulated device: the graphs that graphcore traces, against the CPU's numbers."""

from __future__ import annotations

import numpy as np
import pytest

import graphcore as keras
from compiler.codegen.cuda_driver import compile_graph_for_cuda
from graphcore import demo, layers

pytestmark = pytest.mark.cudasim


def small_model() -> keras.Model:
    """The demo's layers, with fewer pixels and filters than a simulator has patience for."""
    inputs = keras.Input((8, 8, 1), dtype="uint8", name="images")
    x = layers.Rescaling(1 / 255)(inputs)
    for filters in (2, 3, 4):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.4)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def digits(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    return rng.integers(0, 256, (count, size, size, 1)).astype("uint8"), rng.integers(0, 10, count)


def test_the_small_network_is_the_demo_made_small() -> None:
    assert list(map(type, small_model().layers)) == list(map(type, demo.build_model().layers))


def test_a_training_step_agrees_with_the_cpu() -> None:
    """Weights, moving statistics, slots, metric totals, dropout's seed: everything the second step leaves behind."""
    keras.utils.set_random_seed(1)
    model = small_model()
    schedule = keras.optimizers.schedules.CosineDecay(demo.PEAK_LEARNING_RATE, 100)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    x, y = digits(3, 8)
    model.train_on_batch(x, y)
    step = model.lower("train").step
    before = [np.array(variable.array) for variable in step.variables]
    _, updated = compile_graph_for_cuda(step.graph).run([x, y], before)
    step.run([x, y])
    changed = 0
    for (name, actual), start, variable in zip(updated.items(), before, step.variables, strict=True):
        expected = np.asarray(variable.array)
        changed += bool((expected != start).any())
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=5e-5 * scale, err_msg=name)
    assert changed > len(model.trainable_variables)


@pytest.mark.slow
def test_the_demo_itself_predicts_as_on_the_cpu() -> None:
    keras.utils.set_random_seed(1)
    model = demo.build_model()
    x, _ = digits(1, 28)
    expected = model.predict_on_batch(x)
    step = model.lower("predict").step
    (actual,), _ = compile_graph_for_cuda(step.graph).run([x], [np.array(v.array) for v in step.variables])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
