"""What commands are about: saved models, models in scripts, graphs; and how they fail."""

from __future__ import annotations

from pathlib import Path

import pytest

import graphcore as keras
from compiler.ir import Graph
from compiler.passes import schedule
from graphcore import cli
from graphcore.commands import COMMANDS
from graphcore.commands.arguments import TYPICAL_EXTENT, load_subject
from graphcore.on_demand import import_quickly

SCRIPT = """
import graphcore as keras

def make():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs), name="made")

model = make()
number = 3
if __name__ == "__main__":
    raise SystemExit("the script ran as a program")
"""

GRAPH = """
graph double {
  input %x "x": f32[batch,3]
  %y: f32[batch,3] = add(%x, %x)
  return "y"=%y
}
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["model", "make"])
def test_a_model_in_a_script(script: Path, name: str) -> None:
    model = load_subject(f"{script}:{name}")
    assert isinstance(model, keras.Model)
    assert model.name == "made"


def test_a_saved_model_and_a_graph(script: Path, tmp_path: Path) -> None:
    model = load_subject(f"{script}:model")
    assert isinstance(model, keras.Model)
    model.save(tmp_path / "saved.keras")
    saved = load_subject(str(tmp_path / "saved.keras"))
    assert isinstance(saved, keras.Model)
    assert saved.get_config() == model.get_config()
    (tmp_path / "double.gcir").write_text(GRAPH, encoding="utf-8")
    graph = load_subject(str(tmp_path / "double.gcir"))
    assert isinstance(graph, Graph)
    assert graph.name == "double"


def test_what_cannot_be_loaded_says_why(script: Path) -> None:
    for subject, message in (
        (f"{script}:nothing", "Models it defines: model"),
        (f"{script}:number", "but a int"),
        (str(script), "expected a saved model"),
        ("model.onnx", "expected a saved model"),
    ):
        with pytest.raises(ValueError, match=message):
            load_subject(subject)
    for missing in ("missing.py:model", "missing.gcir", "missing.keras"):
        with pytest.raises((OSError, ValueError)):
            load_subject(missing)


@pytest.mark.parametrize("words", [("report",), ("profile",), ("ir", "--stage", "memory"), ("opt", "--bisect")])
@pytest.mark.parametrize("text", ["n", "n=", "=3", "n=0", "n=-3", "n=3.5", "n=²", "n=three"])
def test_every_command_reads_sizes_alike(
    words: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = words
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "double.gcir", *rest, f"--size={text}"])
    assert caught.value.code == 2
    assert f"expected SYMBOL=VALUE such as batch=64, got '{text}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("report", "--kind", "train"), "--kind"),
        (("report", "--batch", "7"), "--batch"),
        (("profile", "--kind", "train"), "--kind"),
        (("profile", "--batch", "7"), "--batch"),
        (("profile", "--length", "7"), "--length"),
        (("profile", "--loss", "mse"), "--loss"),
        (("profile", "--optimizer", "adam"), "--optimizer"),
        (("ir", "--kind", "predict"), "--kind"),
        (("summary", "--expand-nested"), "--expand-nested"),
        (("summary", "--show-trainable"), "--show-trainable"),
    ],
)
def test_options_of_models_are_refused_with_a_graph(
    words: tuple[str, ...], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "double.gcir"
    path.write_text(GRAPH, encoding="utf-8")
    assert cli.main([words[0], str(path), *words[1:]]) == 2
    assert f"{option} is for a model, and {path} is a graph: leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "profile"])
def test_sizes_of_graphs_are_refused_with_a_model(
    command: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, f"{script}:model", "--size", "nothing=9"]) == 2
    assert f"--size is for a graph, and {script}:model is a model: leave it out" in capsys.readouterr().err


def test_an_optimizer_without_a_loss_would_not_be_used(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profile", f"{script}:model", "--optimizer", "adam"]) == 2
    assert "--optimizer belongs to --loss" in capsys.readouterr().err


def test_the_typical_extent_is_the_compiler_s() -> None:
    assert TYPICAL_EXTENT == schedule.TYPICAL_EXTENT


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_teaches_by_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    examples = import_quickly(f"graphcore.commands.{name}").EXAMPLES.splitlines()
    assert examples
    assert all(line.startswith(f"  graphcore {name}") and line in shown for line in examples)


def test_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(options: object) -> int:
        raise ValueError("no such thing")

    monkeypatch.setattr("graphcore.commands.demo.run", fail)
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == "graphcore demo: no such thing\n"


def test_no_line_of_a_command_is_a_line_of_the_user(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ir", f"{script}:made", "--kind", "predict", "--stage", "traced"]) == 2
    assert cli.main(["ir", f"{script}:make", "--kind", "predict", "--stage", "traced"]) == 0
    sources = {line.partition('#"')[2] for line in capsys.readouterr().out.splitlines() if '#"' in line}
    assert sources <= {'script.py:6"'}
