"""The machine: what it is, and how busy others keep it."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import time
from typing import Any

from runtime.operating_system import data_caches, processor_name, usable_cores

__all__ = ["Bystanders", "describe", "usable_cores"]


def describe() -> dict[str, Any]:
    """Processor, cores, caches in bytes, vector width in bits, system, Python, date, and load at this moment."""
    from compiler.target import host_target

    target = host_target()
    return {
        "processor": processor_name(),
        "llvm_name": target.cpu,
        "cores": usable_cores(),
        "caches": data_caches(),
        "vector_bits": 8 * target.vector_bytes,
        "vector_registers": target.vector_registers,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "load_average": list(os.getloadavg()),
    }


class Bystanders:
    """How many cores were busy with something other than the process that was being measured.

    Made before a measurement and asked after it. Counts all of the machine's processor time (Linux), stolen time of
    a virtual machine included.
    """

    def __init__(self) -> None:
        self._wall, self._busy = time.perf_counter(), _busy_seconds()

    def cores(self, own_processor_seconds: float) -> float:
        """Mean number of cores since this object was made; NaN where the system does not tell."""
        wall = time.perf_counter() - self._wall
        return max(0.0, _busy_seconds() - self._busy - own_processor_seconds) / wall


def _busy_seconds() -> float:
    with contextlib.suppress(OSError), open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, file.readline().split()[1:9])
        return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")
    return float("nan")
