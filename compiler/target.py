"""What the compiler must know about the machine it compiles for."""

from __future__ import annotations

import functools
import platform

from runtime.host import host
from runtime.records import record


@record
class Target:
    """A machine. `vector_bytes` and `vector_registers` describe its widest float unit."""

    kind: str  # "cpu" | "cuda"
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int

    def lanes(self, dtype: str) -> int:
        """Elements of a float dtype in one vector register."""
        return self.vector_bytes // {"float64": 8}.get(dtype, 4)

    def __str__(self) -> str:
        return f"{self.kind}:{self.cpu}:{self.vector_bytes * 8}"


@functools.cache
def host_target() -> Target:
    """The machine this process runs on."""
    machine = host()
    features = frozenset(machine.features.split(","))
    if "+avx512f" in features:
        return Target("cpu", machine.processor, machine.features, 64, 32)
    if {"+avx2", "+fma"} <= features:
        return Target("cpu", machine.processor, machine.features, 32, 16)
    registers = 32 if platform.machine().lower() in ("aarch64", "arm64") else 16
    return Target("cpu", machine.processor, machine.features, 16, registers)


CUDA_TARGET = Target("cuda", "sm_90", "", 4, 255)
