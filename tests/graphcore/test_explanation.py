"""`graphcore.explain`: layers that share a kernel, layers that do not and why, layers that have nothing to do with
each other; against the groups of the optimized graph, looked at by hand."""

from __future__ import annotations

import numpy as np
import pytest

import graphcore as keras
from graphcore import layers


def network() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, name="conv")(inputs)
    x = layers.ReLU(name="relu")(x)
    x = layers.Conv2D(16, 3, name="next conv")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Softmax(name="a -> b")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    made = network()
    made.predict_on_batch(np.zeros((2, 8, 8, 3), np.float32))
    return made


def shares_a_kernel(model: keras.Model, first: str, second: str) -> bool:
    graph = model.lower("predict").compiled.graph
    groups = [{inner.layer for inner in node.op.body.nodes} for node in graph.nodes if hasattr(node.op, "body")]
    return any({first, second} <= group for group in groups)


def test_layers_in_one_kernel(model: keras.Model) -> None:
    found = keras.explain("conv", "relu", of=model)
    assert found.fused
    assert shares_a_kernel(model, "conv", "relu")
    (kernel,) = found.shared
    assert any("convolution" in op for op in kernel.first)
    assert kernel.second == ("relu",)
    assert str(found).startswith("'conv' and 'relu' share 1 kernel in 'predict_step'")


def test_layers_in_two_kernels_and_why(model: keras.Model) -> None:
    found = keras.explain("relu", "next conv", of=model)
    assert not found.fused
    assert not shares_a_kernel(model, "relu", "next conv")
    (separation,) = found.separations
    assert separation.producer == "relu (relu)"
    assert separation.reader.endswith("(next conv)")
    assert separation.reason == "a kernel holds one contraction"
    assert f"apart: {separation.producer} -> {separation.reader}: {separation.reason}" in str(found)
    assert keras.explain("next conv", "relu", of=model).separations == found.separations


def test_a_layer_with_an_arrow_in_its_name(model: keras.Model) -> None:
    found = keras.explain("a -> b", "head", of=model)
    assert [separation.reason for separation in found.separations] == ["factors of a contraction must be in memory"]


def test_layers_with_nothing_between_them(model: keras.Model) -> None:
    found = keras.explain("conv", "head", of=model)
    assert found.shared == found.separations == ()
    assert "neither reads a result of the other" in str(found)


def test_layer_objects_and_the_program_compiled_last(model: keras.Model) -> None:
    newer = network()
    newer.compile(optimizer="sgd", loss="mse")
    newer.train_on_batch(np.zeros((2, 8, 8, 3), np.float32), np.zeros((2, 2), np.float32))
    conv, relu = newer.get_layer("conv"), newer.get_layer("relu")
    assert keras.explain(conv, relu).graph == "train_step"
    assert keras.explain(conv, relu, of=model).graph == "predict_step"
    assert keras.explain(conv, relu, of=newer.lower("train")).graph == "train_step"
    assert keras.explain(conv, relu, of=newer.lower("train").compiled).graph == "train_step"


def test_a_model_that_has_not_run() -> None:
    assert keras.explain("conv", "relu", of=network()).fused


def test_a_loop_shares_no_kernel_with_what_is_around_it() -> None:
    inputs = keras.Input((6, 5))
    x = layers.Dense(4, activation="relu", name="before")(inputs)
    x = layers.SimpleRNN(8, name="memory")(x)
    model = keras.Model(inputs, layers.Dense(3, name="after")(x))
    found = keras.explain("memory", "after", of=model)
    assert not found.fused
    assert all("is a loop" in separation.reason for separation in found.separations)
    assert found.separations


def test_an_inner_layer_and_the_one_around_it() -> None:
    inputs = keras.Input((6, 5))
    model = keras.Model(inputs, layers.LSTM(8, name="memory")(inputs))
    found = keras.explain("lstm_cell", "memory", of=model)
    assert found.shared == ()
    reasons = sorted(separation.reason.split(":")[0] for separation in found.separations)
    assert reasons == ["'scan' is a loop", "'scan' is a loop", "factors of a contraction must be in memory"]
    assert found.separations[0].reader.endswith("(memory/lstm_cell)")


def test_unknown_layers(model: keras.Model) -> None:
    with pytest.raises(ValueError, match="both layer 'conv' and layer 'no such layer'"):
        keras.explain("conv", "no such layer")
    with pytest.raises(ValueError, match="needs two layers"):
        keras.explain("conv", "conv", of=model)
    with pytest.raises(ValueError, match=r"has no layer 'missing'\. It has: a -> b, conv"):
        keras.explain("conv", "missing", of=model.lower("predict").compiled)
