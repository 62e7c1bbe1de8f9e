"""What LLVM calls this machine, asked for or remembered."""

from __future__ import annotations

from pathlib import Path

import llvmlite.binding as llvm
import pytest

from runtime import host as module
from runtime.cache import ObjectCache
from runtime.host import Host, host

PROCESSOR = """processor\t: {number}
vendor_id\t: GenuineIntel
model\t\t: {model}
cpu MHz\t\t: {speed}
flags\t\t: fpu sse2 {flags}

processor\t: 1
"""


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`described(**changes)`: the description of a processor."""
    monkeypatch.setattr(module.sys, "platform", "linux")

    def describe(number: int = 0, model: int = 1, speed: float = 2000.0, flags: str = "avx2") -> str | None:
        path = tmp_path / "cpuinfo"
        path.write_text(PROCESSOR.format(number=number, model=model, speed=speed, flags=flags))
        return module._description(path)

    return describe


def test_the_host_is_what_llvm_says() -> None:
    features = llvm.get_host_cpu_features().flatten()
    assert host() == Host(llvm.get_process_triple(), llvm.get_host_cpu_name(), features)
    assert str(host()) == f"{llvm.get_process_triple()};{llvm.get_host_cpu_name()};{features}"


def test_the_description_follows_the_processor_and_not_the_moment(described) -> None:
    assert described() is not None
    assert described(number=3, speed=3500.5) == described()
    assert described(model=2) != described()
    assert described(flags="avx2 avx512f") != described()


def test_without_the_files_of_linux_nothing_is_remembered(tmp_path: Path, described) -> None:
    assert module._description(tmp_path / "missing") is None
    (tmp_path / "arm").write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert module._description(tmp_path / "arm") is None


def test_llvm_is_asked_once_for_each_kind_of_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = ObjectCache(tmp_path), []
    answer = Host("x86_64-unknown-linux-gnu", "znver3", "+avx2,-avx512f")
    monkeypatch.setattr(module, "default_cache", lambda: store)
    monkeypatch.setattr(module, "_ask_llvm", lambda: asked.append(1) or answer)
    for description, count in (("one", 1), ("one", 1), ("two", 2), ("one", 2), (None, 3), (None, 4)):
        monkeypatch.setattr(module, "_description", lambda _, description=description: description)
        assert host.__wrapped__() == answer
        assert len(asked) == count
