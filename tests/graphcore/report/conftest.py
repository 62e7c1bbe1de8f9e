"""Pages of a small model and of a graph with hostile names, made once."""

from __future__ import annotations

from pathlib import Path

import large_models
import numpy as np
import pytest

import graphcore as keras
from compiler.inspect import report
from compiler.text import parse

EVIL = "<script>alert(1)</script>"
EVIL_LAYER = "<img src=x onerror=alert(1)>"

GRAPH = f"""
graph "{EVIL}" {{
  input %0 "x{EVIL}": f32[batch,4]
  variable %1 "w\\"'{EVIL}": f32[4,3]
  %2: f32[batch,3] = matmul(%0, %1) {{transpose_a=False, transpose_b=False}} @"{EVIL}" #"{EVIL}"
  %3: f32[batch,3] = tanh(%2) @"{EVIL}"
  %4: f32[batch] = reduce_sum(%3) {{axes=(1,)}} @"{EVIL_LAYER}/inner"
  return "y{EVIL}"=%4
}}
"""


def small_model() -> keras.Model:
    inputs = keras.Input((6,), name="features")
    x = keras.layers.Dense(8, activation="relu", name="first")(inputs)
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name=EVIL_LAYER)], name="inner")
    x = keras.layers.Add(name="sum")([x, inner(x)])
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="classes")(x), name="small")
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.fixture(scope="session")
def model_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "model.html"
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 6)).astype("float32"), rng.integers(0, 3, 16).astype("int32")
    page = small_model().report(path, "train", x, y)
    assert path.read_text(encoding="utf-8") == page
    return path


LARGE = [("cnn", 32), ("lstm", 32), ("transformer", 8), ("resnet50", 2)]


@pytest.fixture(scope="session", params=LARGE, ids=[make for make, _ in LARGE])
def large_page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make, batch = request.param
    path = tmp_path_factory.mktemp("report") / f"{make}.html"
    getattr(large_models, make)().report(path, batch_size=batch)
    return path


@pytest.fixture(scope="session")
def graph_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "graph.html"
    report(parse(GRAPH), path, sizes={"batch": 5})
    return path
