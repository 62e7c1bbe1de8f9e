"""The command line, and the demo from end to end."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from graphcore import cli, demo, utils
from graphcore.training.data.arrays import Batch


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "demo" in capsys.readouterr().out


def test_the_version_is_printed_by_the_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "graphcore", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"graphcore \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("arguments", [["unknown"], ["demo", "--epochs", "0"], ["demo", "--seed", "x"]])
def test_wrong_arguments_exit_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: graphcore" in capsys.readouterr().err


def test_options_reach_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def run(epochs: int, seed: int) -> int:
        seen.append((epochs, seed))
        return 1

    monkeypatch.setattr(demo, "run", run)
    assert cli.main(["demo", "--epochs", "3", "--seed", "5"]) == 1
    assert cli.main(["demo"]) == 1
    assert seen == [(3, 5), (7, 0)]


def test_the_demo_fails_below_its_target(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Step:
        compiled = None

        def measure(self, batch: Batch, runs: int) -> None:
            assert len(batch.x) == demo.BATCH_SIZE

    monkeypatch.setattr(demo, "train", lambda model, epochs: 0.9 if epochs == 1 else 0.97)
    monkeypatch.setattr(demo.keras.Model, "lower", lambda self, kind: SimpleNamespace(step=Step()))
    for name in ("show_graph", "show_kernels", "show_memory"):
        monkeypatch.setattr(demo, name, lambda console, what: None)
    assert demo.run(epochs=1) == 1
    assert "test accuracy 90.0%, target 96.5% missed" in capsys.readouterr().out
    assert demo.run(epochs=2) == 0
    assert "test accuracy 97.0%, target 96.5% reached" in capsys.readouterr().out


@pytest.mark.slow
def test_the_demo_reaches_its_target_and_shows_what_was_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    utils.clear_session()  # layers get the names of a fresh process
    assert demo.run() == 0
    printed = capsys.readouterr().out
    for part in ('Model: "digits"', "Epoch 7/7", "graph train_step {", "Total ms", "planned peak", "reached"):
        assert part in printed
    assert "conv2d_1: convolution" in printed
    assert "\x1b" not in printed
