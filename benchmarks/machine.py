"""The machine: what it is, and how busy others keep it."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import time
from pathlib import Path
from typing import Any

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """Processor, cores, caches in bytes, vector width in bits, system, Python, date, and load at this moment."""
    from compiler.target import host_target

    target = host_target()
    return {
        "processor": _processor_name(),
        "llvm_name": target.cpu,
        "cores": usable_cores(),
        "caches": caches(),
        "vector_bits": 8 * target.vector_bytes,
        "vector_registers": target.vector_registers,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "load_average": list(os.getloadavg()),
    }


def caches() -> dict[str, int]:
    """Bytes of each data cache of core 0 by name, "L1", "L2"...; empty where Linux does not tell."""
    found: dict[str, int] = {}
    for folder in sorted(_CACHES.glob("index*")):
        with contextlib.suppress(OSError, ValueError):
            if (folder / "type").read_text().strip() != "Instruction":
                size = (folder / "size").read_text().strip()
                found[f"L{(folder / 'level').read_text().strip()}"] = _bytes(size)
    return found


def _bytes(text: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def _processor_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


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
