"""Aligned memory and the growing arena."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import arena
from runtime.arena import Arena, address_of, align_up_bytes, aligned_copy, aligned_empty


@given(
    st.lists(st.integers(0, 9), max_size=4),
    st.sampled_from(["float64", "float32", "float16", "int8", "bool", "uint64"]),
)
def test_aligned_empty(shape: list[int], dtype: str) -> None:
    array = aligned_empty(shape, dtype)
    assert array.shape == tuple(shape)
    assert array.dtype == dtype
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable
    array[...] = 1
    assert array.sum() == array.size


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        aligned_empty((2, -3), "float32")


@pytest.mark.parametrize(
    "array",
    [np.zeros(3), np.zeros((4, 5), "i1")[2:], np.zeros(()), np.zeros((0, 3)), np.ones(9)[::-1], np.ones((2, 3)).T],
    ids=["vector", "offset", "scalar", "empty", "reversed", "transposed"],
)  # fmt: skip
def test_address_of_agrees_with_numpy(array: np.ndarray) -> None:
    assert address_of(array) == array.ctypes.data
    assert arena._address_by_protocol(array) == array.ctypes.data


def test_an_unknown_array_layout_falls_back_to_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "_DATA_FIELD", 32)
    assert arena._fastest_address() is arena._address_by_protocol


def test_aligned_copy_keeps_values_and_order() -> None:
    source = np.arange(12.0).reshape(3, 4)[:, ::-2]
    copy = aligned_copy(source)
    np.testing.assert_array_equal(copy, source)
    assert copy.flags.c_contiguous
    assert address_of(copy) % 64 == 0
    assert not np.shares_memory(copy, source)


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 64), (64, 64), (65, 128)])
def test_align_up_bytes(size: int, expected: int) -> None:
    assert align_up_bytes(size) == expected


def test_the_arena_only_grows_until_released() -> None:
    memory = Arena()
    assert memory.size == 0
    first = memory.reserve(1000)
    assert first % 64 == 0
    assert memory.reserve(10) == first
    assert memory.size == 1000
    memory.reserve(5000)
    assert memory.size == 5000
    assert memory.address % 64 == 0
    memory.release()
    assert memory.size == 0
    assert repr(memory) == "Arena(0 bytes)"
