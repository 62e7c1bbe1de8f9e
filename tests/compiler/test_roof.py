"""The loops that find the machine's roofs, and what is kept of their result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler import roof as roofs
from compiler.roof import Roof, known_roof
from compiler.roof_kernels import DEPTH, compile_roof_kernels
from compiler.target import Target, host_target


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_the_roofs_loops_compute_what_they_are_counted_for(vector_bytes: int) -> None:
    host = host_target()
    kernels = compile_roof_kernels(Target("cpu", host.cpu, host.features, vector_bytes, host.vector_registers))
    rng = np.random.default_rng(0)
    a = rng.standard_normal((kernels.rows, DEPTH), dtype=np.float32)
    panel = rng.standard_normal((DEPTH, kernels.columns), dtype=np.float32)
    result = np.empty((kernels.rows, kernels.columns), np.float32)
    kernels.peak(3, a.ctypes.data, panel.ctypes.data, result.ctypes.data)
    np.testing.assert_allclose(result, 3 * (a.astype(np.float64) @ panel), rtol=1e-4, atol=1e-3)
    assert kernels.flops_of_a_turn == 2 * a.shape[0] * panel.size

    left, right = rng.standard_normal((2, 1024), dtype=np.float32)
    target = np.empty_like(left)
    kernels.copy(left.size, target.ctypes.data, left.ctypes.data)
    np.testing.assert_array_equal(target, left)
    kernels.triad(left.size, target.ctypes.data, left.ctypes.data, right.ctypes.data)
    np.testing.assert_allclose(target, left + 3.0 * right.astype(np.float64), rtol=1e-6, atol=1e-6)


def test_a_roof_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHCORE_CACHE", str(tmp_path / "kept"))
    rates = iter((1e11, 5e9, 6e9))
    monkeypatch.setattr(roofs, "_best_rate", lambda jobs: next(rates))
    monkeypatch.setattr(roofs, "_LEAST_BYTES", 2**16)
    monkeypatch.setattr(roofs, "_MOST_BYTES", 2**16)
    roofs.roof.cache_clear()
    try:
        assert known_roof(3) is None
        assert roofs.roof(3) == Roof(3, 1e11, 5e9, 6e9)
        roofs.roof.cache_clear()
        assert roofs.roof(3) == known_roof(3) == Roof(3, 1e11, 5e9, 6e9)  # no rate is left to measure
        assert known_roof(4) is None
    finally:
        roofs.roof.cache_clear()


def test_a_damaged_entry_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHCORE_CACHE", str(tmp_path / "kept"))
    for text in (b"[]", b"[2, 0, 1, 1]", b"nonsense", b'["2", "1", "1", "1"]'):
        roofs.default_cache().put(roofs._key(2), "roof", text)
        assert known_roof(2) is None


def test_rates_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofs, "_REPEATS", 3)
    assert roofs._best_rate([lambda: 1e6, lambda: 2e6]) > 3e6 / 10  # three million in far less than ten seconds


def test_the_share_is_the_least_time_over_that_taken() -> None:
    roof = Roof(2, 1e11, 8e9, 1e10)
    assert roof.share(1e11, 0, 2.0) == 0.5
    assert roof.share(1e9, 2e10, 4.0) == 0.5
    assert roof.share(1e11, 0, 2.0, itemsize=8) == 1.0
    assert roof.share(0, 0, 0.0) == 0.0
