"""Linking without LLVM: the same results, and a refusal of whatever is not known."""

from __future__ import annotations

import ctypes
import platform
import re
import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from runtime import linking, loader
from runtime.arena import address_of
from runtime.linking import Image, LinkingError, link
from runtime.loader import LinkingWarning, load

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="only ELF objects for x86-64 are linked here"
)

ONE_NUMBER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)

# Constants in memory, a table of jumps, and the C library: all that kernels need of a linker.
MIXED = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
@table = private constant [4 x i64] [i64 3, i64 1, i64 4, i64 1]

define i64 @{name}(i64 %n) {{
entry:
  %block = alloca [4096 x i8]
  %copy = alloca [4096 x i8]
  %size = and i64 %n, 4095
  call void @llvm.memset.p0.i64(ptr %block, i8 1, i64 %size, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr %copy, ptr %block, i64 %size, i1 false)
  %first = load volatile i8, ptr %copy
  %wide = zext i8 %first to i64
  %index = and i64 %n, 3
  %slot = getelementptr i64, ptr @table, i64 %index
  %entry_value = load i64, ptr %slot
  switch i64 %n, label %other [ i64 1, label %one i64 2, label %two i64 3, label %three i64 4, label %four
                               i64 5, label %five i64 6, label %six ]
one:
  store volatile i64 0, ptr %copy
  br label %done
two:
  store volatile i64 0, ptr %copy
  store volatile i64 1, ptr %copy
  br label %done
three:
  store volatile i64 0, ptr %copy
  store volatile i64 1, ptr %copy
  store volatile i64 2, ptr %copy
  br label %done
four:
  store volatile i64 0, ptr %copy
  store volatile i64 1, ptr %copy
  store volatile i64 2, ptr %copy
  store volatile i64 3, ptr %copy
  br label %done
five:
  store volatile i64 0, ptr %copy
  store volatile i64 1, ptr %copy
  store volatile i64 2, ptr %copy
  store volatile i64 3, ptr %copy
  store volatile i64 4, ptr %copy
  br label %done
six:
  store volatile i64 0, ptr %copy
  store volatile i64 1, ptr %copy
  store volatile i64 2, ptr %copy
  store volatile i64 3, ptr %copy
  store volatile i64 4, ptr %copy
  store volatile i64 5, ptr %copy
  br label %done
other:
  br label %done
done:
  %case = phi i64 [ 100, %one ], [ 231, %two ], [ 377, %three ], [ 419, %four ], [ 555, %five ], [ 603, %six ],
                  [ 0, %other ]
  %sum = add i64 %case, %entry_value
  %result = add i64 %sum, %wide
  ret i64 %result
}}
"""

WRITES_DATA = """
@total = global i64 5
define i64 @{name}(i64 %n) {{
  %old = load i64, ptr @total
  %new = add i64 %old, %n
  store i64 %new, ptr @total
  ret i64 %new
}}
"""


def expected(n: int) -> int:
    return {1: 100, 2: 231, 3: 377, 4: 419, 5: 555, 6: 603}.get(n, 0) + [3, 1, 4, 1][n % 4] + 1


def test_linked_code_finds_its_constants_its_jumps_and_the_c_library(native: ModuleType) -> None:
    image = link([native.object_code(MIXED, "mixed"), native.object_code(native.AXPB, "axpb")])
    assert "mixed" in image
    assert "axpb" in image
    assert "table" not in image
    function = ONE_NUMBER(image["mixed"])
    assert [function(n) for n in range(1, 300)] == [expected(n) for n in range(1, 300)]


def test_code_is_not_writable_once_it_can_be_run(native: ModuleType) -> None:
    image = link([native.object_code(MIXED, "mixed")])
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(part, 16) for part in re.split("[- ]", line)[:2])
        if begin <= image["mixed"] < end:
            assert line.split()[1] == "r-xp"
            return
    pytest.fail("the code is nowhere in memory")


def test_the_loader_links_what_kernels_are_without_llvm(native: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_link_by_llvm", lambda *_: pytest.fail("LLVM was asked"))
    code = load("without_llvm", native.object_code(native.INCREMENT, "without_llvm"))
    assert isinstance(code._tracker, Image)
    numbers, pointers, returned = np.arange(4), np.zeros(1, np.int64), np.zeros(2, np.int64)
    pointers[0] = address_of(numbers)
    call = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * 7)(code.address)
    slots = address_of(returned)
    assert call(slots, slots + 8, address_of(pointers), 0, 0, 1, 3) == 0
    np.testing.assert_array_equal(numbers, [0, 2, 3, 3])


def test_data_that_code_writes_is_left_to_llvm_with_one_warning(
    native: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = native.object_code(WRITES_DATA, "writes")
    with pytest.raises(LinkingError, match="writes"):
        link([data])
    monkeypatch.setattr(loader, "_has_warned", False)
    with pytest.warns(LinkingWarning, match="LLVM is loaded to link 'writes' .* data that the code writes") as told:
        code = load("writes", data)
    assert len(told) == 1
    function = ONE_NUMBER(code.address)
    assert [function(1), function(1)] == [6, 7]
    load("again", native.object_code(WRITES_DATA, "again"))  # a second warning would be an error


def test_other_machines_are_left_to_llvm_without_a_word(native: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_has_warned", False)
    monkeypatch.setattr(linking, "_X86_64", 183)
    code = load("elsewhere", native.object_code(MIXED, "elsewhere"))
    assert not isinstance(code._tracker, Image)
    assert ONE_NUMBER(code.address)(1) == expected(1)


def test_an_unknown_symbol_is_refused(native: ModuleType) -> None:
    with pytest.raises(LinkingError, match="graphcore_no_such_function"):
        link([native.object_code(native.UNRESOLVED, "unresolved")])


def test_another_processor_and_an_unknown_relocation_are_refused(native: ModuleType) -> None:
    data = native.object_code(MIXED, "mixed")
    other = bytearray(data)
    struct.pack_into("<H", other, 18, 183)  # AArch64
    with pytest.raises(LinkingError, match="x86-64"):
        link([bytes(other)])
    changed = bytearray(data)
    for section in linking._sections_of(data):
        if section.type == 4:
            struct.pack_into("<I", changed, section.offset + 8, 9)  # the kind of its first relocation
    with pytest.raises(LinkingError, match="kind 9"):
        link([bytes(changed)])


def test_an_object_that_is_cut_short_is_refused(native: ModuleType) -> None:
    data = native.object_code(MIXED, "mixed")
    for length in range(0, len(data), 23):
        with pytest.raises(LinkingError):
            link([data[:length]])
