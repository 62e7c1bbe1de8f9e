"""`model.lower`: the stages of steps that have run and of steps that have not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphcore as keras
from graphcore import layers, ops


def classifier(loss: Any = "sparse_categorical_crossentropy", **arguments: Any) -> keras.Model:
    inputs = keras.Input((6,))
    x = layers.Dense(5, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))
    model.compile("adam", loss, **arguments)
    return model


def types_of(model: keras.Model, kind: str) -> dict[str, str]:
    return {entry.name: str(entry.value.type) for entry in model.lower(kind).traced.graph.inputs}


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("sparse_categorical_crossentropy", "i64[batch]"),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), "i64[batch]"),
        ("categorical_crossentropy", "f32[batch,3]"),
        (lambda y_true, y_pred: ops.mean(ops.square(y_true - y_pred), -1), "f32[batch,3]"),
    ],
)
def test_targets_are_what_the_loss_expects(loss: Any, expected: str) -> None:
    model = classifier(loss, metrics=["accuracy"])
    for kind in ("train", "test"):
        assert types_of(model, kind) == {"x": "f32[batch,6]", "y": expected}
    assert types_of(model, "predict") == {"x": "f32[batch,6]"}


@pytest.mark.parametrize("kind", ["train", "test", "predict"])
def test_the_program_foreseen_is_the_one_that_runs(kind: str) -> None:
    """With labels of the assumed type the very same graph."""
    model = classifier(metrics=["accuracy"])
    foreseen = model.lower(kind).traced.graph
    x, y = np.ones((4, 6), np.float32), np.zeros(4, np.int64)
    calls: dict[str, Callable[[], Any]] = {
        "train": lambda: model.train_on_batch(x, y),
        "test": lambda: model.test_on_batch(x, y),
        "predict": lambda: model.predict_on_batch(x),
    }
    calls[kind]()
    found = model.lower(kind)
    assert found.step is model.training_session.latest[kind]
    assert [(e.name, e.value.type) for e in foreseen.parameters] == [
        (e.name, e.value.type) for e in found.traced.graph.parameters
    ]
    assert [node.op for node in foreseen.nodes] == [node.op for node in found.traced.graph.nodes]
    assert found.compiled is found.step.compiled


def test_looking_ahead_changes_nothing() -> None:
    """Labels of another form than assumed train as if nobody had looked."""
    x = np.random.default_rng(0).random((8, 6), dtype=np.float32)
    y = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
    losses = []
    for look in (False, True):
        keras.utils.set_random_seed(3)
        model = classifier("categorical_crossentropy", metrics=["accuracy"])
        if look:
            model.lower("train")
            model.lower("test")
            assert not model.training_session.programs
        history = model.fit(x, y.astype("int32"), epochs=2, verbose=0, batch_size=4)
        losses.append(history.history)
    assert losses[0] == losses[1]


def test_a_model_that_was_never_compiled_can_only_predict() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(inputs), name="bare")
    assert next(node.op.name for node in model.lower("predict").traced.graph.nodes) == "matmul"
    for kind in ("train", "test"):
        with pytest.raises(ValueError, match=r"'bare' was never compiled, so only lower\('predict'\) is possible"):
            model.lower(kind)
    with pytest.raises(ValueError, match=r"must be one of 'train', 'test', 'predict'\. Received: kind='fit'"):
        model.lower("fit")


class Doubled(keras.Model):
    def call(self, inputs: Any) -> Any:
        return inputs * 2


def test_a_model_without_inputs_must_run_first() -> None:
    model = Doubled()
    with pytest.raises(ValueError, match="does not declare its inputs, and no 'predict' step has run yet"):
        model.lower("predict")
    model.predict_on_batch(np.ones((2, 3), np.float32))
    assert str(model.lower("predict").traced.graph.inputs[0].value.type) == "f32[batch,3]"


def test_targets_that_cannot_be_guessed_are_asked_for() -> None:
    def first_label_only(y_true: Any, y_pred: Any) -> Any:
        return ops.sparse_categorical_crossentropy(ops.reshape(y_true, (-1,)), y_pred)

    model = classifier(first_label_only)
    with pytest.raises(ValueError, match="shape") as raised:
        model.lower("train")
    assert any("run a step first" in note and "y: float32[batch,3]" in note for note in raised.value.__notes__)
    assert not model.training_session.compile_loss.built  # type: ignore[union-attr]


def test_axes_of_any_size_are_symbols_and_several_outputs_have_targets() -> None:
    text, image = keras.Input((None,), dtype="int32", name="text"), keras.Input((None, None, 3), name="image")
    x = layers.GRU(4)(layers.Embedding(11, 4)(text))
    z = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, strides=2)(image))
    joined = layers.Concatenate()([x, z])
    outputs = {"kind": layers.Dense(3, name="kind")(joined), "size": layers.Dense(1, name="size")(joined)}
    model = keras.Model({"text": text, "image": image}, outputs)
    model.compile("sgd", {"kind": "sparse_categorical_crossentropy", "size": "mse"}, metrics={"size": ["mae"]})
    found = types_of(model, "train")
    assert found["y/kind"] == "i64[batch]"
    assert found["y/size"] == "f32[batch,1]"
    extents = found["x/image"].removeprefix("f32[batch,").removesuffix(",3]").split(",")
    assert len(set(extents)) == 2
    assert all(not extent.isdigit() for extent in extents)
    length = found["x/text"].removeprefix("i32[batch,").removesuffix("]")
    assert not length.isdigit()


def test_stages_agree_with_the_model() -> None:
    model = classifier()
    found = model.lower("train")
    assert {call.layer.split("/")[0] for call in found.kernels.calls} >= {"hidden", "head"}
    assert repr(found.traced).startswith("<traced: Graph(train_step: 2 inputs")
    assert found.memory.at({"batch": 8}).size > 0
    total = sum(call.flops * call.repeats for call in found.kernels.calls)
    assert str(total) == "210*batch"  # 2 (6 x 5 + 5 x 3) forward, as many for the kernels, 2 x 5 x 3 for the activation
