"""LLVM modules compiled to object code, several at the same time.

LLVM takes three quarters of the time that a kernel needs, and no Python. Each module has an LLVM context, a target
machine and passes of its own, so that LLVM shares nothing between two of them; worker threads run the passes and the
code generator while the caller translates the next kernel. Object code depends on the module's text alone, neither
on the number of workers nor on the order.

llvmlite takes one lock around each call. The two long calls go past it, which is right for modules that share no
context; where a version of llvmlite hides the plain function they take the lock, and modules wait for each other.

Two things of LLVM's standard pipeline are left out, for they take time and kernels gain nothing from them. Level 2
has the passes that matter here (level 3: an eighth more time in the passes). *Loop strength reduction*, which makes a
running address for each operand of a loop, takes nearly half of code generation; x86 and ARM scale an index in the
access itself (sums over all instructions' least times, one thread: ResNet-20 103.2 ms with it, 103.3 without). Only a
switch of the whole process turns it off; `quick_code_generation` does so for as long as code is generated.

What it must reach: kernels of a program in half the time with two processors.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from llvmlite import binding as llvm
from llvmlite.binding import ffi

from runtime.loader import target_machine

__all__ = ["JobQueue", "ModuleJob", "quick_code_generation"]

# More workers than this wait for the one thread that translates kernels.
_MOST_WORKERS = 4


_switch = threading.Lock()
_users = 0


@contextlib.contextmanager
def quick_code_generation() -> Iterator[None]:
    """LLVM generates code without loop strength reduction while anyone is in here.

    It is a switch of the process: what another thread compiles meanwhile, with Numba say, goes without it too, and is
    right all the same.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _users
    with _switch:
        _users += 1
        if _users == 1:
            llvm.set_option("graphcore", "-disable-lsr")


def _leave() -> None:
    global _users
    with _switch:
        _users -= 1
        if _users == 0:
            llvm.set_option("graphcore", "-disable-lsr=false")


class ModuleJob:
    """One LLVM module on its way to object code.

    Raises `RuntimeError` for text that LLVM cannot parse or verify.
    """

    def __init__(self, text: str) -> None:
        # The last made goes first, when the job does. In a cycle, as tracebacks make them, the garbage collector would
        # take context and module in any order, and LLVM would dispose of a module whose context is gone.
        owned = contextlib.ExitStack()
        weakref.finalize(self, owned.close).atexit = False
        context = owned.enter_context(llvm.create_context())
        self.machine = owned.enter_context(target_machine())
        self.module = owned.enter_context(llvm.parse_assembly(text, context))
        self.module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        self._builder = owned.enter_context(llvm.create_pass_builder(self.machine, options))
        self._passes = owned.enter_context(self._builder.getModulePassManager())

    def run(self) -> Any:
        """LLVM's standard passes and code generation, in any thread, once; returns the memory with the object."""
        self._optimize()
        reason = ctypes.c_char_p()
        emit = _unlocked(ffi.lib.LLVMPY_TargetMachineEmitToMemory)
        with quick_code_generation():
            memory = emit(self.machine, self.module, 1, ctypes.byref(reason))
        if not memory:
            raise RuntimeError(f"LLVM cannot emit this module: {(reason.value or b'').decode()}")
        return memory

    def texts(self) -> tuple[str, str]:
        """In place of `run`: the module after the passes, and the instructions that `run` makes of it as assembly."""
        self._optimize()
        optimized = str(self.module)  # code generation changes the module
        with quick_code_generation():
            return optimized, self.machine.emit_assembly(self.module)

    def _optimize(self) -> None:
        _unlocked(ffi.lib.LLVMPY_RunNewModulePassManager)(self._passes, self.module, self._builder)


def _unlocked(function: Any) -> Any:
    """A function of llvmlite's library without the lock around it."""
    return getattr(function, "_cfn", function)


def _bytes_of(memory: Any) -> bytes:
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(memory), ffi.lib.LLVMPY_GetBufferSize(memory))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(memory)


class JobQueue:
    """Worker threads for jobs; use it in a `with` block, which ends with all workers gone.

    A job's result is asked for by the thread that made the queue.
    """

    def __init__(self) -> None:
        self._workers: ThreadPoolExecutor | None = None
        self._futures: dict[ModuleJob, Future[Any]] = {}

    def __enter__(self) -> Self:
        self._workers = ThreadPoolExecutor(_worker_count(), thread_name_prefix="graphcore-compile")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._workers is not None
        self._workers.shutdown(wait=True, cancel_futures=True)
        for future in self._futures.values():
            if not future.cancelled() and future.exception() is None:
                _bytes_of(future.result())
        self._futures.clear()

    def start(self, job: ModuleJob) -> None:
        """Begin a job as soon as a worker is free."""
        if self._workers is None:
            raise RuntimeError("a queue of jobs is used in a `with` block")
        self._futures[job] = self._workers.submit(job.run)

    def object_code(self, job: ModuleJob) -> bytes:
        """The object code of a job that was started, once; waits for it."""
        memory = self._futures[job].result()
        del self._futures[job]
        return _bytes_of(memory)


def _worker_count() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(available, _MOST_WORKERS))
