"""What the notes of a profile say: each kernel's time, arithmetic and memory traffic, and where the rest of the time
went.

Every nanosecond of a run is accounted for. On each thread it is time in a kernel, time *waiting* while another thread
is in one, or time *between calls*, when no thread is. A kernel's time is that of all threads by the number of threads
that the run was shared by, so the kernels' times, the waiting and the time between calls add up to the run's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from compiler.roof import Roof
from runtime.dimensions import evaluate
from runtime.profile import KernelCall, Profile
from runtime.program import DTYPES, Instruction, Program

__all__ = [
    "KernelTime", "LayerTime", "ProgramTimes", "UsualRun", "itemsize_of", "layer_of", "layer_times", "program_times",
    "usual_runs", "usual_threads",
]  # fmt: skip

RoofOf = Callable[[int], Roof]


class KernelTime(NamedTuple):
    """One instruction of a program, over all runs in which it ran; in a loop, all its steps together.

    Times are in nanoseconds, those of all threads by their number.
    """

    position: int
    label: str
    layer: str
    kernel: str
    threads: int  # the usual number
    runs: int
    calls: int  # of the kernel, all runs and threads
    median: float  # of a run
    total: float
    flops: float  # of a run; of contractions only, by their definition
    bytes: float  # of a run: the least that its calls must read and write; see `compiler.traffic.least_bytes`
    roof: float  # see `Roof.share`, at the median

    @property
    def gflops(self) -> float:
        """10^9 floating-point operations a second, at the median time."""
        return self.flops / self.median if self.median else 0.0

    @property
    def gbytes(self) -> float:
        """10^9 bytes a second, at the median time."""
        return self.bytes / self.median if self.median else 0.0


class UsualRun(NamedTuple):
    """One instruction over all runs in which it ran, in nanoseconds, those of all threads by their number."""

    median: float
    total: float
    runs: int
    executions: float  # in the median of them; 1 but in a loop


class ProgramTimes(NamedTuple):
    """The runs of one program at one value of each symbol. Times are in nanoseconds, the sum of all runs."""

    name: str
    values: dict[str, int]
    runs: int
    threads: int
    median: float  # of a run, from entering native code to leaving it
    total: float
    waiting: float  # for other threads, by the number of threads
    between: float  # no thread in a kernel
    kernels: tuple[KernelTime, ...]


class LayerTime(NamedTuple):
    """All kernels of a layer, or of layers that share kernels: nanoseconds and FLOPs of all runs."""

    layer: str
    kernels: int
    total: float
    flops: float


def program_times(profile: Profile, roof_of: RoofOf) -> ProgramTimes:
    """Sum up the runs of a profile.

    Args:
        profile: of at least one run.
        roof_of: the machine's roof for a number of threads.

    Raises:
        ValueError: for a profile without runs.
    """
    if profile.program is None or not profile.runs:
        raise ValueError("there is nothing to sum up: the profile has no runs")
    teams = profile.team_sizes()
    usual = usual_threads(profile)
    roof = roof_of(usual)
    durations = profile.durations()
    gaps = [_gaps(profile.calls(run), durations[run], int(teams[run])) for run in range(profile.runs)]
    waiting, between = np.sum(gaps, 0)
    return ProgramTimes(
        profile.program.name,
        dict(profile.values),
        profile.runs,
        usual,
        float(np.median(durations)),
        float(durations.sum()),
        float(waiting),
        float(between),
        _kernels(profile, profile.program, roof),
    )


def usual_threads(profile: Profile) -> int:
    """By how many threads a run was shared, in the median of at least one run."""
    return int(np.median(profile.team_sizes()))


def usual_runs(profile: Profile) -> dict[int, UsualRun]:
    """Each instruction that ran, by its position."""
    if profile.program is None or not profile.runs:
        return {}
    times = profile.times_per_thread()
    items = profile.items()
    found = {}
    for position, instruction in enumerate(profile.program.instructions):
        ran = items[:, position] > 0
        if ran.any():
            work = max(evaluate(instruction.work, profile.values), 1)
            executions = float(np.median(items[ran, position])) / work
            own = times[ran, position]
            found[position] = UsualRun(float(np.median(own)), float(own.sum()), int(ran.sum()), executions)
    return found


def _kernels(profile: Profile, program: Program, roof: Roof) -> tuple[KernelTime, ...]:
    calls = profile.call_counts().sum(0)
    found = []
    for position, usual in usual_runs(profile).items():
        instruction, executions, median = program.instructions[position], usual.executions, usual.median
        flops = 2.0 * evaluate(instruction.multiply_adds, profile.values) * executions
        traffic = sum(evaluate(dim, profile.values) for dim in (instruction.bytes_read, instruction.bytes_written))
        found.append(KernelTime(
            position, instruction.label, layer_of(instruction), program.kernels[instruction.kernel].name,
            roof.threads, usual.runs, int(calls[position]), median, usual.total, flops, traffic * executions,
            roof.share(flops, traffic * executions, median / 1e9, itemsize_of(program, instruction, profile.values)),
        ))  # fmt: skip
    return tuple(found)


def itemsize_of(program: Program, instruction: Instruction, values: Mapping[str, int]) -> int:
    """Bytes of one element of the largest operand: of the floats that an instruction's arithmetic is on."""
    largest = max(instruction.operands, key=lambda operand: program.buffer_bytes(operand, values), default=None)
    return 4 if largest is None else DTYPES[program.buffers[largest].dtype].itemsize


def layer_of(instruction: Instruction) -> str:
    """The layer that a label begins with; "" where there is none."""
    return instruction.label.rpartition(": ")[0]


def _gaps(calls: Sequence[KernelCall], duration: float, team: int) -> tuple[float, float]:
    """Nanoseconds of waiting, by the number of threads, and between calls, of one run."""
    covered = _covered(calls)
    return covered - sum(call.until - call.begin for call in calls) / team, duration - covered


def _covered(calls: Sequence[KernelCall]) -> float:
    """How long at least one call was under way; `calls` are in the order of their begin."""
    covered, end = 0.0, 0.0
    for call in calls:
        covered += max(call.until - max(call.begin, end), 0.0)
        end = max(end, call.until)
    return covered


def layer_times(kernels: Sequence[KernelTime]) -> tuple[LayerTime, ...]:
    """Kernels by layer, the longest first; those of no layer are under ""."""
    groups: dict[str, list[KernelTime]] = {}
    for kernel in kernels:
        groups.setdefault(kernel.layer, []).append(kernel)
    found = (
        LayerTime(layer, len(own), sum(k.total for k in own), sum(k.flops * k.runs for k in own))
        for layer, own in groups.items()
    )
    return tuple(sorted(found, key=lambda time: -time.total))
