"""`graphcore cache` and `graphcore bench`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from graphcore import cli
from runtime.cache import default_cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAPHCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_shown_and_emptied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = default_cache()
    for name in ("one", "two"):
        store.put(name, name, bytes(2**20))
    assert cli.main(["cache"]) == 0
    shown = capsys.readouterr().out
    assert str(folder) in shown
    assert "entries  2, 2.0 of at most 2048 MiB" in shown
    assert "used 0.0 days ago" in shown
    assert cli.main(["cache", "--trim"]) == 0
    assert "removed  0.0 MiB" in capsys.readouterr().out
    assert store.get("one") is not None
    assert cli.main(["cache", "--clear"]) == 0
    shown = capsys.readouterr().out
    assert "removed  2.0 MiB" in shown
    assert "entries  0, 0.0" in shown
    assert store.get("one") is None


def test_without_a_cache_it_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GRAPHCORE_CACHE", "off")
    assert cli.main(["cache"]) == 1
    assert "GRAPHCORE_CACHE is 'off'" in capsys.readouterr().out


def test_bench_hands_its_options_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        assert (options["cwd"] / "benchmarks").is_dir()
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    assert cli.main(["bench", "--models", "mlp", "cnn", "--rounds", "2"]) == 3
    assert commands[0][1:] == ["-m", "benchmarks", "--models", "mlp", "cnn", "--rounds", "2"]
    assert cli.main(["bench", "--peers", str(tmp_path / "python"), "--seconds", "0.5"]) == 3
    assert commands[1][1:] == ["-m", "benchmarks.peers", "--python", str(tmp_path / "python"), "--seconds", "0.5"]
