"""Modules compiled beside one another: the same bytes as one after another, and no worker outlives its queue."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading

import pytest
from llvmlite import binding as llvm

from compiler.codegen.llvm_jobs import JobQueue, ModuleJob, quick_code_generation
from compiler.codegen.objects import KernelQueue, compile_kernel
from runtime.loader import load

TEXT = """
target triple = "{triple}"
define i64 @sum_{number}(i64 %count) {{
entry:
  br label %head
head:
  %index = phi i64 [ 0, %entry ], [ %next, %head ]
  %total = phi i64 [ 0, %entry ], [ %more, %head ]
  %square = mul i64 %index, %index
  %term = add i64 %square, {number}
  %more = add i64 %total, %term
  %next = add i64 %index, 1
  %again = icmp slt i64 %next, %count
  br i1 %again, label %head, label %done
done:
  ret i64 %more
}}
"""


def text(number: int) -> str:
    return TEXT.format(number=number, triple=llvm.get_process_triple())


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("graphcore-compile")]


def object_codes(numbers: range) -> list[bytes]:
    with JobQueue() as queue:
        jobs = [ModuleJob(text(number)) for number in numbers]
        for job in jobs:
            queue.start(job)
        return [queue.object_code(job) for job in jobs]


def test_together_as_one_after_another() -> None:
    together = object_codes(range(24))
    assert together == [object_codes(range(number, number + 1))[0] for number in range(24)]
    for number, code in enumerate(together):
        loaded = load(f"sum_{number}", code)
        function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded.address)
        assert function(10) == sum(index * index + number for index in range(10))


def begin_and_fail() -> None:
    with JobQueue() as queue:
        for number in range(6):
            queue.start(ModuleJob(text(number)))
        assert workers()
        raise ZeroDivisionError


def test_workers_end_with_the_block() -> None:
    with pytest.raises(ZeroDivisionError):
        begin_and_fail()
    assert not workers()


def test_a_queue_is_used_in_a_block() -> None:
    with pytest.raises(RuntimeError, match="`with` block"):
        JobQueue().start(ModuleJob(text(0)))


@pytest.mark.parametrize("broken", ["define i64 @f(", "define i64 @f() {\n  ret i32 0\n}\n"])
def test_text_that_is_no_module_is_refused(broken: str) -> None:
    with pytest.raises(RuntimeError):
        ModuleJob(broken)


COLLECT = """
import gc
from compiler.codegen.llvm_jobs import ModuleJob
for text in ("define i64 @one() { ret i64 1 }", "define void @f() { %x = add i64 %y, 1 %y = add i64 %x, 1 ret void }"):
    cycle = []
    try:
        cycle += [cycle, ModuleJob(text)]
    except RuntimeError as error:
        cycle += [cycle, error]
    del cycle
    gc.collect()
print("alive")
"""


def test_jobs_in_cycles_are_collected() -> None:
    """As the traceback of an error makes them; in a process of its own, which LLVM would take down."""
    done = subprocess.run([sys.executable, "-c", COLLECT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_kernels_together_as_each_alone() -> None:
    sources = [
        "def kernel(pointers, extents, scratch, begin, end):\n"
        "    p0 = private_float32(pointers[0])\n"
        f"    for i0 in range(begin, end):\n        p0[i0] = exp_float32(p0[i0]) * float32({number}.0)\n"
        for number in range(5)
    ]
    with KernelQueue() as queue:
        results = [queue.start(source, {}) for source in sources]
        together = [result() for result in results]
    alone = [compile_kernel(source, {}) for source in sources]
    assert [kernel.object_code for kernel in together] == [kernel.object_code for kernel in alone]
    assert len({kernel.symbol for kernel in together}) == len(sources)


def switch_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(llvm, "set_option", lambda name, option: calls.append(option))
    return calls


def test_the_switch_is_put_back_by_the_last_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = switch_calls(monkeypatch)
    with quick_code_generation():
        with pytest.raises(ZeroDivisionError), quick_code_generation():
            raise ZeroDivisionError
        assert calls == ["-disable-lsr"]
    assert calls == ["-disable-lsr", "-disable-lsr=false"]


def test_code_does_not_depend_on_what_was_switched_before() -> None:
    (before,) = object_codes(range(1))
    with quick_code_generation():
        (inside,) = object_codes(range(1))
    assert inside == before == object_codes(range(1))[0]
