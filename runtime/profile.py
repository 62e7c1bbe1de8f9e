"""Time spent in each instruction of a program, added up over runs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.arena import address_of
from runtime.native import nanoseconds_per_tick
from runtime.program import Program

__all__ = ["InstructionTime", "Profile"]


class InstructionTime(NamedTuple):
    """One instruction's time over all runs of a profile, waiting for other threads included."""

    position: int
    label: str
    kernel: str
    nanoseconds: float
    runs: int

    @property
    def mean_nanoseconds(self) -> float:
        """Mean time of one run; 0 before the first."""
        return self.nanoseconds / self.runs if self.runs else 0.0


class Profile:
    """Pass one to `Executable.run` to add the time of each instruction to it.

    The clock is read once for each instruction, on the calling thread. A profile belongs to the first
    program it is used with, and must not be used by two threads at once.
    """

    def __init__(self) -> None:
        self.program: Program | None = None
        self.runs = 0
        self._ticks: NDArray[np.int64] = np.zeros(0, np.int64)

    def attach(self, program: Program) -> int:
        """The address of the tick counters for a run of `program`; for the executor.

        Raises `ValueError` when the profile has been used with another program.
        """
        if self.program is None:
            self.program = program
            self._ticks = np.zeros(max(len(program.instructions), 1), np.int64)
        if self.program is not program:
            raise ValueError(
                f"this profile belongs to {self.program!r}, not to {program!r}; use one Profile for each program"
            )
        return address_of(self._ticks)

    @property
    def instructions(self) -> tuple[InstructionTime, ...]:
        """The times in program order; empty before the first run."""
        if self.program is None:
            return ()
        program, scale = self.program, nanoseconds_per_tick()
        return tuple(
            InstructionTime(
                index,
                instruction.label,
                program.kernels[instruction.kernel].name,
                float(self._ticks[index]) * scale,
                self.runs,
            )
            for index, instruction in enumerate(program.instructions)
        )

    @property
    def total_nanoseconds(self) -> float:
        """Time in native code, all runs and instructions together."""
        return float(self._ticks.sum()) * nanoseconds_per_tick() if self.runs else 0.0

    def clear(self) -> None:
        """Forget the times, and the program."""
        self.__init__()  # type: ignore[misc]

    def table(self, most: int = 20) -> str:
        """The `most` costly instructions as text: mean microseconds of a run, share, label and kernel."""
        times = sorted(self.instructions, key=lambda time: -time.nanoseconds)[:most]
        total = self.total_nanoseconds or 1.0
        lines = [f"{'us/run':>10} {'share':>6}  instruction"]
        for time in times:
            mean, share = time.mean_nanoseconds / 1e3, time.nanoseconds / total
            lines.append(f"{mean:10.2f} {share:6.1%}  {time.label} ({time.kernel})")
        return "\n".join(lines)

    def __repr__(self) -> str:
        name = repr(self.program.name) if self.program else "no program"
        return f"<Profile of {name}: {self.runs} runs, {self.total_nanoseconds / 1e6:.3f} ms>"
