"""Object code to addresses: linking, errors, unloading, and no Numba."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from runtime import loader
from runtime.arena import address_of
from runtime.loader import LoadError, load, load_objects

PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3)


def call_axpb(code: loader.LoadedCode, begin: int, end: int) -> np.ndarray:
    a, x, y = np.float32([3]), np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    pointers = np.array([address_of(array) for array in (a, x, y)], np.int64)
    extents = np.array([5], np.int64)
    returned = np.zeros(2, np.int64)
    slots = address_of(returned)
    status = PROTOTYPE(code.address)(slots, slots + 8, address_of(pointers), address_of(extents), 0, begin, end)
    assert status == 0
    return y


def test_loaded_code_runs(native: ModuleType) -> None:
    kernel = native.kernel(native.AXPB, "axpb")
    y = call_axpb(load(kernel.symbol, kernel.object_code), 2, 6)
    np.testing.assert_array_equal(y, [0, 0, 11, 14, 17, 20, 0, 0])


def test_the_same_bytes_are_linked_once_and_unloaded_at_last(native: ModuleType) -> None:
    kernel = native.kernel(native.AXPB, "axpb_linked_once")
    gc.collect()  # what earlier tests left behind
    before = len(loader._loaded)
    first, second = load(kernel.symbol, kernel.object_code), load(kernel.symbol, kernel.object_code)
    assert first is second
    assert len(loader._loaded) == before + 1
    del first, second
    gc.collect()
    assert len(loader._loaded) == before
    np.testing.assert_array_equal(call_axpb(load(kernel.symbol, kernel.object_code), 0, 1)[:2], [5, 0])


def test_equal_symbols_of_different_objects_do_not_meet(native: ModuleType) -> None:
    one = load("same_name", native.object_code(native.AXPB, "same_name"))
    other = load("same_name", native.object_code(native.INCREMENT, "same_name"))
    assert one.address != other.address
    np.testing.assert_array_equal(call_axpb(one, 0, 2)[:3], [5, 8, 0])


def test_what_cannot_be_linked_is_an_error(native: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    code = native.object_code(native.AXPB, "axpb")
    for symbol, data, message in (
        ("missing", code, r"cannot link 'missing' .*Symbols not found"),
        ("axpb", b"not object code", "no object file for this machine"),
        ("axpb", b"", "no object file for this machine"),
        ("axpb", code[:100], "cannot link 'axpb'"),
        ("axpb", code[:-100], "cannot link 'axpb'"),
        ("axpb", b"\x7fELF" + bytes(200), "cannot link 'axpb'"),
        ("unresolved", native.object_code(native.UNRESOLVED, "unresolved"), "does not have"),
    ):
        with pytest.raises(LoadError, match=message):
            load(symbol, data)
    assert capfd.readouterr().err == ""
    assert call_axpb(load("axpb", code), 0, 1)[0] == 5


def test_the_runtime_needs_neither_numba_nor_networkx() -> None:
    script = (
        "import sys, runtime\n"
        "bad = {'numba', 'networkx', 'h5py', 'compiler', 'graphcore'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_objects_are_linked_together_as_each_alone(native: ModuleType) -> None:
    kernels = [native.object_code(text, name) for text, name in ((native.AXPB, "first"), (native.INCREMENT, "second"))]
    namesake = native.object_code(native.INCREMENT, "first")
    pairs = [("first", kernels[0]), ("second", kernels[1]), ("first", namesake), ("first", kernels[0])]
    loaded = load_objects(pairs)
    assert [code.symbol for code in loaded] == ["first", "second", "first", "first"]
    assert loaded[0] is loaded[3] is load("first", kernels[0])
    assert len({code.address for code in loaded}) == 3
    np.testing.assert_array_equal(call_axpb(loaded[0], 2, 6)[:2], call_axpb(load("first", kernels[0]), 2, 6)[:2])


def test_of_several_objects_the_one_that_cannot_be_linked_is_named(native: ModuleType) -> None:
    good, bad = native.object_code(native.AXPB, "good"), native.object_code(native.UNRESOLVED, "unresolved")
    with pytest.raises(LoadError, match="cannot link 'unresolved'"):
        load_objects([("good", good), ("unresolved", bad)])
