"""What LLVM calls this machine: part of every cache key.

Asking LLVM means loading it, some 50 ms of processor time, which a process that finds its code in the cache needs for
nothing else. So its answer is kept in the cache as well, under a key of all that the answer follows from: what Linux
says of the first processor and of itself, and llvmlite's version. Elsewhere LLVM is asked each time.
"""

from __future__ import annotations

import json
import platform
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import llvmlite  # which loads no LLVM

from runtime.cache import default_cache

__all__ = ["Host", "host"]

_ENTRY = "host"
# Lines about a processor that differ from one to the next, or from moment to moment.
_PASSING = frozenset(
    ("processor", "cpu MHz", "physical id", "siblings", "core id", "cpu cores", "apicid", "initial apicid", "bogomips")
)


class Host(NamedTuple):
    """This machine: triple, processor and features as LLVM writes them."""

    triple: str
    processor: str
    features: str  # "+avx2,-avx512f,..."

    def __str__(self) -> str:
        """What object code made here was made for."""
        return ";".join(self)


@cache
def host() -> Host:
    """The machine that this process runs on."""
    description = _description(Path("/proc/cpuinfo"))
    if description is None:
        return _ask_llvm()
    key = sha256(f"{_ENTRY}\n{llvmlite.__version__}\n{description}".encode()).hexdigest()
    store = default_cache()
    entry = store.get(key)
    if entry is not None:
        return Host(*json.loads(entry[1]))
    answer = _ask_llvm()
    store.put(key, _ENTRY, json.dumps(answer).encode())
    return answer


def _ask_llvm() -> Host:
    import llvmlite.binding as llvm  # here, since most processes need none of it

    return Host(llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())


def _description(processors: Path) -> str | None:
    """What identifies the machine's kind; None where the system does not say it in the way of Linux for x86."""
    if not sys.platform.startswith("linux"):
        return None
    lines = [platform.release(), platform.machine()]
    try:
        with processors.open() as file:
            for line in file:
                name = line.split(":")[0].strip()
                if not name:  # the first processor ends here; a large machine has hundreds, all alike
                    break
                if name not in _PASSING:
                    lines.append(line.strip())
    except OSError:
        return None
    return "\n".join(lines) if any(line.startswith("flags") for line in lines) else None
