"""The native instruction loop as callable functions, compiled once for a machine and kept in the cache."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import Any

import llvmlite  # which loads no LLVM

from runtime.cache import default_cache
from runtime.host import host
from runtime.loader import LoadedCode, LoadError, load_all, target_machine
from runtime.native_code import ENTRY_POINTS, native_code

__all__ = ["NativeLoop", "nanoseconds_per_tick", "native_loop"]

# Every foreign call through these prototypes releases the interpreter lock.
_TWO_NUMBERS = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_RUN_STEPS = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_ONE_ADDRESS = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
_TICKS = ctypes.CFUNCTYPE(ctypes.c_int64)


class NativeLoop:
    """The entry points of `runtime.native_code`; addresses of frames and pools are plain integers.

    `run(frame)`, `run_pooled(frame)` and `run_steps(frame, steps, advances, count)` return the index of the
    instruction that failed, or -1.
    """

    def __init__(self, code: dict[str, LoadedCode]) -> None:
        self._code = code
        self.run: Callable[[int], int] = _ONE_ADDRESS(code["run"].address)
        self.run_pooled: Callable[[int], int] = _ONE_ADDRESS(code["run_pooled"].address)
        self.run_steps: Callable[[int, int, int, int], int] = _RUN_STEPS(code["run_steps"].address)
        self.work: Callable[[int, int], int] = _TWO_NUMBERS(code["work"].address)
        self.stop: Callable[[int], int] = _ONE_ADDRESS(code["stop"].address)
        self.ticks: Callable[[], int] = _TICKS(code["ticks"].address)


@cache
def native_loop() -> NativeLoop:
    """The loop for this machine: about 3 ms from the cache, 30 ms when it must be compiled."""
    text = native_code(host().triple.split("-")[0])
    key = sha256(f"{text}\n{host()}\n{llvmlite.__version__}".encode()).hexdigest()
    store = default_cache()
    entry = store.get(key)
    if entry is not None:
        try:
            return NativeLoop(load_all(ENTRY_POINTS, entry[1]))
        except LoadError:
            pass  # an entry that does not link is as good as none: compile it again
    object_code = _compile(text)
    loop = NativeLoop(load_all(ENTRY_POINTS, object_code))
    store.put(key, ENTRY_POINTS[0], object_code)
    return loop


def _compile(text: str) -> bytes:
    import llvmlite.binding as llvm  # here, since most processes need none of it

    machine = target_machine(2)
    module = llvm.parse_assembly(text)
    module.triple = llvm.get_process_triple()
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    passes: Any = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    object_code: bytes = machine.emit_object(module)
    return object_code


@cache
def nanoseconds_per_tick() -> float:
    """How long one tick of the loop's clock lasts; measured once, over 5 ms."""
    loop = native_loop()
    start_time, start_ticks = time.perf_counter_ns(), loop.ticks()
    time.sleep(0.005)
    end_time, end_ticks = time.perf_counter_ns(), loop.ticks()
    return (end_time - start_time) / max(end_ticks - start_ticks, 1)
