"""`graphcore doctor`: what it finds on a sound installation, and on one where something is wrong."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from compiler.roof import Roof
from graphcore import cli, doctor
from graphcore.doctor import Finding, examine
from runtime.cache import default_cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAPHCORE_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def by_name(findings: tuple[Finding, ...]) -> dict[tuple[str, str], Finding]:
    return {(finding.topic, finding.name): finding for finding in findings}


def test_a_sound_installation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    default_cache().put("some key", "symbol", bytes(3 << 20))
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "Nothing is wrong." in shown
    before = sorted(folder.iterdir())
    found = by_name(examine())
    assert found["cache", "folder"].value == str(folder)
    assert found["cache", "entries"].value.startswith(f"{len(before)}, 3.0 of at most")
    assert found["cache", "writing and reading"] == Finding("cache", "writing and reading", "works")
    assert sorted(folder.iterdir()) == before, "the probe is removed"
    assert found["versions", "numpy"].value == importlib.metadata.version("numpy")
    assert {"processor", "threads", "roofs", "GPU"} <= {topic for topic, _ in found}
    assert found["environment", "GRAPHCORE_CACHE"].value == str(folder)


def test_as_plain_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"topic", "name", "value", "problem"} == findings[0].keys()


def test_roofs_are_shown_when_they_were_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "usable_cores", lambda: 2)
    monkeypatch.setattr(doctor, "measure_roof", lambda threads: Roof(threads, threads * 1e11, 8e9, 9e9))
    assert "not measured yet" in by_name(examine())["roofs", "1 thread"].value
    found = by_name(examine(measure=True))
    assert found["roofs", "2 threads"].value == "200 GFLOP/s in float32, 8.0 GB/s copied, 9.0 triad"


def test_a_cache_that_others_can_write(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert cli.main(["doctor"]) == 1
    assert "others can write to" in capsys.readouterr().out


def test_a_cache_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHCORE_CACHE", "off")
    assert by_name(examine())["cache", "folder"] == Finding("cache", "folder", "none")


def test_a_missing_library(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "_LIBRARIES", ("numpy", "no-such-library"))
    assert cli.main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "! no-such-library" in shown
    assert "pip install no-such-library" in shown
    assert "To look at (1):" in shown


def test_more_threads_than_cores(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "usable_cores", lambda: 2)
    monkeypatch.setattr(doctor, "get_num_threads", lambda: 8)
    assert "set GRAPHCORE_NUM_THREADS=2" in by_name(examine())["threads", "used"].problem


def test_no_driver_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.ctypes.util, "find_library", lambda name: None)
    assert doctor.cuda_devices() == ()
    monkeypatch.setattr(doctor.ctypes.util, "find_library", lambda name: "/no/such/library.so")
    assert doctor.cuda_devices() == ()
