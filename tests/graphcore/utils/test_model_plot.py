"""Drawings of models: what stands in the boxes, which boxes are joined, and the files."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

import graphcore as keras
from graphcore import layers
from graphcore.utils import model_to_dot, plot_model
from graphcore.utils.model_plot import Block, Options, blocks_of

HOSTILE = "<script>alert(1)<script>"


def branching() -> keras.Model:
    left, right = keras.Input((6,), name="left"), keras.Input((4,), dtype="int32", name="right")
    head = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="relu", name="inner")], name="head")
    frozen = layers.Dense(3, name=HOSTILE, trainable=False)
    joined = layers.Concatenate(name="joined")([head(left), frozen(right)])
    return keras.Model([left, right], [layers.Dense(1, name="out")(joined), joined], name="two")


def titles(block: Block) -> list[str]:
    return [part.title for part in block.inner]


def joins(block: Block) -> set[tuple[str, str]]:
    return {(block.inner[start].name, block.inner[end].name) for start, end in block.edges}


def test_boxes_are_joined_as_the_layers_are() -> None:
    block = blocks_of(branching(), Options())
    assert sorted(titles(block)) == ["Concatenate", "Dense", "Dense", "InputLayer", "InputLayer", "Sequential"]
    arrows = {("left", "head"), ("right", HOSTILE), ("head", "joined"), (HOSTILE, "joined"), ("joined", "out")}
    assert joins(block) == arrows


def test_cells_are_those_asked_for() -> None:
    model = branching()
    options = Options(
        show_shapes=True, show_dtype=True, show_layer_names=True, show_layer_activations=True, show_trainable=True,
        expand_nested=True,
    )  # fmt: skip
    parts = {part.name: part for part in blocks_of(model, options).inner}
    assert parts["right"].title == "right (InputLayer)"
    assert parts["right"].cells == ("Output shape: (None, 4)", "Output dtype: int32")
    assert parts[HOSTILE].cells == (
        "Activation: linear", "Input shape: (None, 4)", "Output shape: (None, 3)", "Output dtype: float32",
        "Non-trainable",
    )  # fmt: skip
    assert parts["joined"].cells[0] == "Input shape: [(None, 3), (None, 3)]"
    (inner,) = parts["head"].inner
    assert inner.cells[0] == "Activation: relu"
    assert inner.cells[-1] == "Trainable"
    assert not any(part.cells or part.inner for part in blocks_of(model, Options()).inner)


def test_a_chain_leaves_its_input_out_and_a_subclass_is_one_box() -> None:
    chain = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dropout(0.5), layers.Dense(2)])
    block = blocks_of(chain, Options(show_shapes=True))
    assert titles(block) == ["Dense", "Dropout", "Dense"]
    assert block.edges == ((0, 1), (1, 2))
    assert block.inner[2].cells == ("Input shape: (None, 3)", "Output shape: (None, 2)")

    class Own(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    own = Own()
    own(keras.Input((3,)))
    assert titles(blocks_of(own, Options())) == ["Own"]


def test_arguments_are_those_of_keras() -> None:
    """As in Keras 3.15, in its order; it takes further ones only to refuse them."""
    shown = "show_shapes show_dtype show_layer_names rankdir expand_nested dpi"
    last = "show_layer_activations show_trainable splines"
    assert list(inspect.signature(plot_model).parameters) == f"model to_file {shown} {last}".split()
    assert list(inspect.signature(model_to_dot).parameters) == f"model {shown} subgraph {last}".split()


def test_a_shared_layer_is_one_box() -> None:
    one, two = keras.Input((4,)), keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    model = keras.Model([one, two], layers.Add(name="sum")([shared(shared(one)), shared(two)]))
    block = blocks_of(model, Options())
    assert titles(block).count("Dense") == 1
    assert ("shared", "shared") not in joins(block)
    assert model_to_dot(model).create(format="svg")


def test_a_layer_that_is_called_in_a_circle_of_layers_is_drawn() -> None:
    x = keras.Input((4,))
    first, second = layers.Dense(4, name="first"), layers.Dense(4, name="second")
    model = keras.Model(x, first(second(first(x))))
    block = blocks_of(model, Options())
    assert {("first", "second"), ("second", "first")} <= joins(block)
    assert model_to_dot(model).create(format="svg")


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_arrows_go_where_the_direction_says(rankdir: str) -> None:
    chain = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")])
    drawing = model_to_dot(chain, rankdir=rankdir)
    root = ElementTree.fromstring(drawing.create(format="svg"))
    place = {e.text: (float(e.get("x", "")), float(e.get("y", ""))) for e in root.iter() if e.tag.endswith("text")}
    axis = 1 if rankdir in ("TB", "BT") else 0
    first, second = place["a (Dense)"][axis], place["b (Dense)"][axis]
    assert (first < second) == (rankdir in ("TB", "LR"))
    assert f"rankdir={rankdir};" in drawing.to_string()


def test_files(tmp_path: Path) -> None:
    model = branching()
    for name in ("model.png", "model.svg", "model.dot"):
        plot_model(model, tmp_path / name, show_shapes=True, show_layer_names=True, expand_nested=True, dpi=60)
    with Image.open(tmp_path / "model.png") as image:
        assert image.format == "PNG"
    page = (tmp_path / "model.svg").read_text(encoding="utf-8")
    assert f"{HOSTILE} (Dense)" in [element.text for element in ElementTree.fromstring(page).iter()]
    assert "<script" not in page
    text = (tmp_path / "model.dot").read_text(encoding="utf-8")
    assert text.startswith('digraph "two" {')
    assert r"\<script\>" in text
    assert 'splines="ortho";' in text
    assert 'splines="line";' in model_to_dot(model, splines="line").to_string()
    assert "lhead=cluster_n" in text
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not yet been built"):
        plot_model(keras.Sequential([layers.Dense(2)]), tmp_path / "model.png")
    with pytest.raises(ValueError, match=r"must end in \.png, \.svg, \.dot"):
        plot_model(branching(), tmp_path / "model.pdf")
    with pytest.raises(ValueError, match="rankdir='XY'"):
        plot_model(branching(), tmp_path / "model.svg", rankdir="XY")
