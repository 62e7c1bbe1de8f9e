"""What a report of a problem should say of the machine and the installation: `graphcore doctor`."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.metadata
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import graphcore
from compiler.roof import Roof, known_roof, measure_roof
from compiler.target import host_target
from runtime.cache import CacheWarning, ObjectCache, default_cache, default_folder
from runtime.host import host
from runtime.operating_system import data_caches, processor_name, usable_cores
from runtime.threads import get_num_threads

__all__ = ["Finding", "examine"]

_LIBRARIES = ("numpy", "numba", "llvmlite", "networkx", "h5py", "rich")
_VARIABLES = ("GRAPHCORE_CACHE", "GRAPHCORE_NUM_THREADS", "GRAPHCORE_LOGS", "GRAPHCORE_DUMP", "GRAPHCORE_DATA")
_TELLING = ("sse2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bf16", "amx-tile", "neon", "sve", "fullfp16")
_PROBE = "doctor's probe"


class Finding(NamedTuple):
    """One line: `problem` is empty, or says what is wrong and how to put it right."""

    topic: str
    name: str
    value: str
    problem: str = ""


def examine(measure: bool = False) -> tuple[Finding, ...]:
    """Look at versions, processor, threads, cache, roofs and GPU. Nothing is changed, but for one entry of the cache
    that is written, read and removed.

    Args:
        measure: measure the machine's roofs now, some seconds for each number of threads, and keep them; otherwise
            those that were measured before are shown.
    """
    parts = (_versions(), _processor(), _threads(), _cache(), _roofs(measure), _gpu(), _variables())
    return tuple(finding for part in parts for finding in part)


def _versions() -> Iterator[Finding]:
    yield Finding("versions", "graphcore", graphcore.version())
    old = "graphcore needs Python 3.11 or later" if sys.version_info < (3, 11) else ""
    yield Finding("versions", "Python", f"{platform.python_version()} ({sys.executable})", old)
    yield Finding("versions", "system", platform.platform())
    for name in _LIBRARIES:
        try:
            yield Finding("versions", name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding("versions", name, "missing", f"install it: {sys.executable} -m pip install {name}")


def _processor() -> Iterator[Finding]:
    target, machine = host_target(), host()
    present = {feature[1:] for feature in machine.features.split(",") if feature.startswith("+")}
    yield Finding("processor", "name", processor_name())
    yield Finding("processor", "for LLVM", f"{machine.processor}, {machine.triple}")
    yield Finding("processor", "features", " ".join(name for name in _TELLING if name in present) or "none of note")
    yield Finding("processor", "vectors", f"{target.vector_bytes * 8} bits, {target.vector_registers} registers")
    caches = ", ".join(f"{name} {size // 1024} KiB" for name, size in sorted(data_caches().items()))
    yield Finding("processor", "data caches", caches or "not told by the system")


def _threads() -> Iterator[Finding]:
    cores = usable_cores()
    yield Finding("threads", "usable cores", str(cores))
    try:
        threads = get_num_threads()
    except ValueError as error:
        yield Finding("threads", "used", "unknown", str(error))
        return
    many = f"more threads than cores wait for each other: set GRAPHCORE_NUM_THREADS={cores}" if threads > cores else ""
    yield Finding("threads", "used", str(threads), many)
    if hasattr(os, "getloadavg"):
        load = os.getloadavg()[0]
        busy = " (other processes keep the cores busy: timings will vary)" if load > cores else ""
        yield Finding("threads", "load, last minute", f"{load:.1f}{busy}")


def _cache() -> Iterator[Finding]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)  # its reason is a finding
        store = default_cache()
    if not store.enabled:
        chosen = os.environ.get("GRAPHCORE_CACHE", "").lower() == "off"
        problem = "" if chosen else f"{store.reason}; every process compiles its kernels again"
        yield Finding("cache", "folder", "none", problem)
        return
    folder = default_folder()
    yield Finding("cache", "folder", str(folder))
    sizes = [entry.size for entry in store.entries()]
    limit = store.limit_bytes / 2**20
    yield Finding("cache", "entries", f"{len(sizes)}, {sum(sizes) / 2**20:.1f} of at most {limit:.0f} MiB")
    yield Finding("cache", "writing and reading", *_probe(store))


def _probe(store: ObjectCache) -> tuple[str, str]:
    """Whether an entry can be written, read and removed."""
    key = f"{_PROBE} {os.getpid()}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        written = store.put(key, "probe", b"probe")
    if not written:
        return "failed", f"{store.reason}; free some space or set GRAPHCORE_CACHE to another folder"
    found = store.get(key)
    store.remove(key)
    return ("works", "") if found == ("probe", b"probe") else ("failed", "what was written is not what is read")


def _roofs(measure: bool) -> Iterator[Finding]:
    for threads in sorted({1, usable_cores()}):
        found = measure_roof(threads) if measure else known_roof(threads)
        name = f"{threads} thread{'s' if threads > 1 else ''}"
        yield Finding("roofs", name, _roof_text(found) if found else "not measured yet: graphcore doctor --measure")


def _roof_text(roof: Roof) -> str:
    return f"{roof.flops / 1e9:.0f} GFLOP/s in float32, {roof.copy / 1e9:.1f} GB/s copied, {roof.triad / 1e9:.1f} triad"


def _gpu() -> Iterator[Finding]:
    devices = cuda_devices()
    if not devices:
        yield Finding("GPU", "CUDA", "no driver or no device")
    for number, name in enumerate(devices):
        yield Finding("GPU", f"CUDA device {number}", name)


def cuda_devices() -> tuple[str, ...]:
    """Names of the CUDA devices, as the driver tells them; empty where there is no driver."""
    library = "nvcuda" if sys.platform == "win32" else ctypes.util.find_library("cuda")
    if library is None:
        return ()
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    names = []
    for number in range(count.value):
        text = ctypes.create_string_buffer(256)
        device = ctypes.c_int()
        if driver.cuDeviceGet(ctypes.byref(device), number) or driver.cuDeviceGetName(text, len(text), device):
            continue
        names.append(text.value.decode(errors="replace"))
    return tuple(names)


def _variables() -> Iterator[Finding]:
    for name in _VARIABLES:
        if name in os.environ:
            yield Finding("environment", name, os.environ[name])
