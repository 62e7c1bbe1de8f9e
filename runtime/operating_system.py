"""What the runtime asks of the operating system: how many cores it may use, and how threads sleep and
wake."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Any

from runtime.native_code import Pool

__all__ = ["PRIMITIVE_BYTES", "data_caches", "fill_waiting_slots", "processor_name", "usable_cores"]

# More than a mutex or a condition variable takes on any platform (at most 64 bytes, on macOS).
PRIMITIVE_BYTES = 256


def usable_cores() -> int:
    """The processors this process may run on, at most its control group's share of processor time (Linux)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _control_group_cores(Path("/sys/fs/cgroup"))
    return cores if quota is None else max(1, min(cores, quota))


def data_caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[str, int]:
    """Bytes of each data cache of core 0 by name, "L1", "L2"...; empty where Linux does not tell."""
    found: dict[str, int] = {}
    for entry in sorted(folder.glob("index*")):
        with contextlib.suppress(OSError, ValueError):
            if (entry / "type").read_text().strip() != "Instruction":
                size = (entry / "size").read_text().strip()
                found[f"L{(entry / 'level').read_text().strip()}"] = _bytes(size)
    return found


def _bytes(text: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def processor_name() -> str:
    """What the maker calls the processor, as far as the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _control_group_cores(root: Path) -> int | None:
    """Cores' worth of processor time a container may use, rounded up; None without a limit."""
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        if int(quota) <= 0 or int(period) <= 0:
            return None
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return None  # no control groups, or a quota of "max"


def fill_waiting_slots(slots: Any, primitives: int) -> None:
    """Prepare a mutex and a condition variable, and put them and their functions into a pool block.

    `primitives` is the address of two zeroed places of `PRIMITIVE_BYTES` each. Raises `OSError` when the
    system refuses. The native code passes four arguments to the wait function; POSIX reads the first two.
    """
    mutex, condition = primitives, primitives + PRIMITIVE_BYTES
    slots[Pool.MUTEX], slots[Pool.CONDITION] = mutex, condition
    if sys.platform == "win32":
        library, names = ctypes.WinDLL("kernel32"), _WINDOWS_NAMES
        library.InitializeSRWLock(ctypes.c_void_p(mutex))
        library.InitializeConditionVariable(ctypes.c_void_p(condition))
    else:
        library, names = ctypes.CDLL(None), _POSIX_NAMES
        for initialise, place in (
            (library.pthread_mutex_init, mutex),
            (library.pthread_cond_init, condition),
        ):
            error = initialise(ctypes.c_void_p(place), None)
            if error:
                raise OSError(error, os.strerror(error))
    for slot, name in names.items():
        slots[slot] = ctypes.cast(getattr(library, name), ctypes.c_void_p).value


_POSIX_NAMES = {
    Pool.LOCK: "pthread_mutex_lock",
    Pool.UNLOCK: "pthread_mutex_unlock",
    Pool.WAIT: "pthread_cond_wait",
    Pool.WAKE_ALL: "pthread_cond_broadcast",
    Pool.YIELD: "sched_yield",
}

_WINDOWS_NAMES = {
    Pool.LOCK: "AcquireSRWLockExclusive",
    Pool.UNLOCK: "ReleaseSRWLockExclusive",
    Pool.WAIT: "SleepConditionVariableSRW",
    Pool.WAKE_ALL: "WakeAllConditionVariable",
    Pool.YIELD: "SwitchToThread",
}
