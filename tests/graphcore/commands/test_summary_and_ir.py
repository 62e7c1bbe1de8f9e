"""`graphcore summary` and `graphcore ir`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compiler import functions as f
from compiler.inspect.stages import STAGES as KNOWN_STAGES
from compiler.ir import Builder
from compiler.ops.sources import ArrayAttribute, Constant
from compiler.text import parse, to_text
from compiler.types import TensorType
from graphcore import cli
from graphcore.commands.ir import STAGES

SCRIPT = """
import graphcore as keras
inputs = keras.Input((4,))
model = keras.Model(inputs, keras.layers.Dense(2, name="only")(inputs), name="made")
trained = keras.models.clone_model(model)
trained.compile("sgd", "mse")
"""
GRAPH = """
graph dense {
  input %0 "x": f32[n,5]
  variable %1 "w": f32[5,3]
  %2: f32[n,3] = matmul(%0, %1) {transpose_a=False, transpose_b=False} @"dense"
  %3: f32[n,3] = relu(%2) @"dense"
  return "y"=%3
}
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


@pytest.fixture
def graph(tmp_path: Path) -> str:
    path = tmp_path / "dense.gcir"
    path.write_text(GRAPH)
    return str(path)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(arguments) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(arguments) == 2
    return capsys.readouterr().err


def test_summary_of_a_model_and_of_a_graph(capsys: pytest.CaptureFixture[str], script: str, graph: str) -> None:
    assert "only (Dense)" in shown(capsys, "summary", f"{script}:model")
    text = shown(capsys, "summary", graph)
    assert "matmul" in text
    assert "FLOPs of contractions: 30*n" in text
    assert "operations on single elements: 3*n" in text


def test_summary_draws(capsys: pytest.CaptureFixture[str], script: str, graph: str, tmp_path: Path) -> None:
    target = tmp_path / "made.svg"
    assert str(target) in shown(capsys, "summary", f"{script}:model", "--plot", str(target))
    assert "only (Dense)" in target.read_text(encoding="utf-8")
    assert "graphcore ir FILE --dot" in refused(capsys, "summary", graph, "--plot", str(target))


def test_ir_prints_a_graph_that_reads_back(capsys: pytest.CaptureFixture[str], graph: str) -> None:
    assert parse(shown(capsys, "ir", graph, "--stage", "traced")) == parse(GRAPH)
    assert parse(shown(capsys, "ir", graph, "--stage", "traced", "--generic")) == parse(GRAPH)
    assert "transpose_a=False" in shown(capsys, "ir", graph, "--generic")
    assert "transpose_a=False" not in shown(capsys, "ir", graph)
    assert "relu" in shown(capsys, "ir", graph)
    assert shown(capsys, "ir", graph, "--dot", "--stage", "traced").startswith('digraph "dense"')


def test_ir_reads_what_it_wrote_though_large_constants_stand_there_by_hash(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    b = Builder("table")
    x = b.input("x", TensorType((5, 90), "float32"))
    table = b.emit(Constant(ArrayAttribute(np.linspace(0, 1, 5 * 90, dtype=np.float32).reshape(5, 90))))
    b.output("y", f.multiply(b, x, table))
    first, second = tmp_path / "first.gcir", tmp_path / "second.gcir"
    first.write_text(to_text(b.build()))
    assert cli.main(["ir", str(first), "-o", str(second)]) == 0
    assert "random numbers stand in for 1 constant given by hash only" in capsys.readouterr().err
    for words in (("ir", str(second), "--stage", "program"), ("summary", str(second))):
        assert cli.main(words) == 0
        captured = capsys.readouterr()
        assert captured.out
        assert captured.err.count("\n") == 1


def test_ir_takes_the_training_step_of_a_compiled_model(capsys: pytest.CaptureFixture[str], script: str) -> None:
    assert "graph train_step {" in shown(capsys, "ir", f"{script}:trained", "--stage", "traced")
    assert "graph predict_step {" in shown(capsys, "ir", f"{script}:model", "--stage", "traced")
    assert "graph test_step {" in shown(capsys, "ir", f"{script}:trained", "--stage", "traced", "--kind", "test")
    assert "was never compiled" in refused(capsys, "ir", f"{script}:model", "--kind", "train")


def test_ir_shows_kernels(capsys: pytest.CaptureFixture[str], graph: str) -> None:
    assert "dense: matmul+relu" in shown(capsys, "ir", graph, "--stage", "kernels")
    source = shown(capsys, "ir", graph, "--kernel", "0")
    assert "# epilogue: relu" in source
    assert "def kernel(pointers, extents, scratch, begin, end):" in source
    assert "define" in shown(capsys, "ir", graph, "--kernel", "0", "--llvm")
    assert ".globl" in shown(capsys, "ir", graph, "--kernel", "0", "--assembly")
    assert "numbered from 0 to 0" in refused(capsys, "ir", graph, "--kernel", "7")


def test_ir_writes_data(capsys: pytest.CaptureFixture[str], graph: str, tmp_path: Path) -> None:
    target = tmp_path / "stage.json"
    for stage in ("traced", "optimized", "kernels", "memory", "program"):
        assert shown(capsys, "ir", graph, "--stage", stage, "--json", "-o", str(target)) == ""
        assert json.loads(target.read_text(encoding="utf-8"))["stage"] == stage
    data = json.loads(shown(capsys, "ir", graph, "--stage", "memory", "--json", "--size", "n=9"))
    assert data["sizes"] == {"n": 9}
    shown(capsys, "ir", graph, "--stage", "memory", "--size", "n=9", "-o", str(target))
    assert "at n = 9" in target.read_text(encoding="utf-8")


def test_model_explorer_has_every_node_and_edge(capsys: pytest.CaptureFixture[str], graph: str) -> None:
    data = json.loads(shown(capsys, "ir", graph, "--model-explorer"))
    whole, body = data["graphs"]
    labels = {node["id"]: node["label"] for node in whole["nodes"]}
    assert list(labels.values()) == ["x", "w", "fused", "y"]
    edges = {(labels[edge["sourceNodeId"]], node["label"]) for node in whole["nodes"] for edge in node["incomingEdges"]}
    assert edges == {("x", "fused"), ("w", "fused"), ("fused", "y")}
    (fused,) = (node for node in whole["nodes"] if node["label"] == "fused")
    assert fused["subgraphIds"] == [body["id"]]
    assert fused["namespace"] == "dense"
    assert fused["outputsMetadata"][0]["attrs"] == [{"key": "tensor_shape", "value": "f32[n,3]"}]
    assert {"matmul", "relu"} <= {node["label"] for node in body["nodes"]}


def test_ir_offers_every_stage() -> None:
    assert STAGES == KNOWN_STAGES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stage", "memory", "--kernel", "0"), "belongs to the stage kernels"),
        (("--llvm",), "need the number of a kernel"),
        (("--stage", "program", "--dot"), "only graphs are exported so"),
        (("--kind", "test"), "--kind is for a model, and "),
        (("--stage", "kernels", "--size", "n=9"), "--size belongs to the stage memory, not to kernels"),
        (("--kernel", "0", "--size", "n=9"), "--size belongs to the stage memory, not to kernels"),
        (("--stage", "memory", "--size", "batch=3"), "no symbol 'batch'"),
    ],
)
def test_ir_refuses_what_makes_no_sense(
    capsys: pytest.CaptureFixture[str], graph: str, arguments: tuple[str, ...], message: str
) -> None:
    assert message in refused(capsys, "ir", graph, *arguments)
