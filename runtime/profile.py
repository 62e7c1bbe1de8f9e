"""What each kernel call of a program took, on which thread and when, noted by the native loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.arena import address_of, aligned_empty
from runtime.native import nanoseconds_per_tick
from runtime.native_code import WHOLE_STEP, CallNote, Notes
from runtime.program import Program
from runtime.thread_choice import SAMPLES

__all__ = ["WARM_RUNS", "InstructionTime", "KernelCall", "Profile"]

# Runs to make before those that count: the first prepares what later ones find ready, so many are samples of the choice
# between one thread and all of them, and one more makes itself at home on the threads that were chosen.
WARM_RUNS = 1 + SAMPLES + 1

_Table = NDArray[np.int64]

# Looking up a member of an enumeration costs as much as the read or write that it is for.
_USED, _MOST, _DROPPED, _HEAD = int(Notes.USED), int(Notes.MOST), int(Notes.DROPPED), int(Notes.HEAD)
_ROW = int(CallNote.SIZE)


class InstructionTime(NamedTuple):
    """One instruction's time in its kernel over all runs of a profile, that of all threads added up."""

    position: int
    label: str
    kernel: str
    nanoseconds: float
    runs: int


class KernelCall(NamedTuple):
    """One call of a kernel: a thread works on the items `first` to `end` of an instruction.

    `begin` and `until` are nanoseconds since the run began.
    """

    thread: int
    position: int
    first: int
    end: int
    begin: float
    until: float


class _Run(NamedTuple):
    """Ticks at the begin and the end of a run, and the notes of each of its threads."""

    begin: int
    until: int
    notes: tuple[_Table, ...]


def _stretch_runs(steps: _Table, tables: Sequence[_Table]) -> Iterator[_Run]:
    """The runs of one native call: they follow one another, and a thread's calls are in order, so each has a stretch of
    every thread's."""
    starts = steps[:, CallNote.FROM]
    cuts = [[*np.searchsorted(calls[:, CallNote.FROM], starts).tolist(), len(calls)] for calls in tables]
    for number, step in enumerate(steps):
        parts = (calls[cut[number] : cut[number + 1]] for calls, cut in zip(tables, cuts, strict=True))
        yield _Run(int(step[CallNote.FROM]), int(step[CallNote.UNTIL]), tuple(parts))


class Profile:
    """Pass one to `Executable.run` to note every call of a kernel in it.

    The clock is read twice for each call, by the thread that makes it: some 20 nanoseconds each time. A profile
    belongs to the first program it is used with, and must not be used by two threads at once. `values` are what the
    program's symbols were in the last run.
    """

    def __init__(self) -> None:
        self.program: Program | None = None
        self.values: Mapping[str, int] = {}
        self._known: list[_Run] = []
        self._collected: list[tuple[int, int, list[bytes]]] = []
        self._blocks: list[memoryview] = []
        self._addresses: _Table = np.zeros(0, np.int64)
        self._threads = 1

    @property
    def runs(self) -> int:
        """How many runs there were."""
        return len(self._runs)

    def attach(self, program: Program, values: Mapping[str, int], threads: int, most_calls: int) -> int:
        """The address of the table of the threads' blocks, for a run of `program` at these values of its symbols by so
        many threads, each of which calls at most so many kernels; for the executor.

        Raises `ValueError` when the profile has been used with another program.
        """
        if self.program is None:
            self.program = program
        if self.program is not program:
            raise ValueError(
                f"this profile belongs to {self.program!r}, not to {program!r}; use one Profile for each program"
            )
        self.values, self._threads = values, threads
        size = _HEAD + most_calls * _ROW
        if len(self._blocks) < threads or len(self._blocks[0]) < size:
            tables = [aligned_empty((size,), np.int64) for _ in range(threads)]
            # Through a memory view, a slot is read and written in half the time.
            self._blocks = [memoryview(table.data).cast("B").cast("q") for table in tables]
            self._addresses = np.array([address_of(table) for table in tables], np.int64)
        for block in self._blocks:
            block[_USED], block[_MOST], block[_DROPPED] = 0, most_calls, 0
        return address_of(self._addresses)

    def collect(self, begin: int, until: int) -> None:
        """Take what the threads have noted between these ticks, in one run or in several steps; for the executor.

        Here it is only copied: what it means is worked out when it is asked for, not between two steps.
        """
        blocks = self._blocks[: self._threads]
        for block in blocks:
            if block[_DROPPED]:
                raise RuntimeError(f"{block[_DROPPED]} calls of {self.program!r} found no room in a thread's notes.")
        parts = [block[_HEAD : _HEAD + block[_USED] * _ROW].tobytes() for block in blocks]
        self._collected.append((begin, until, parts))

    @property
    def _runs(self) -> list[_Run]:
        """Everything collected so far, run by run."""
        for begin, until, parts in self._collected:
            tables = [np.frombuffer(part, np.int64).reshape(-1, _ROW) for part in parts]
            is_step = tables[0][:, CallNote.INDEX] == WHOLE_STEP
            if is_step.any():
                steps, tables[0] = tables[0][is_step], tables[0][~is_step]
                self._known += _stretch_runs(steps, tables)
            else:
                self._known.append(_Run(begin, until, tuple(tables)))
        self._collected.clear()
        return self._known

    @property
    def instructions(self) -> tuple[InstructionTime, ...]:
        """The times in program order; empty before the first run."""
        if self.program is None:
            return ()
        times = self.times().sum(0)
        return tuple(
            InstructionTime(
                index, instruction.label, self.program.kernels[instruction.kernel].name, float(times[index]), self.runs
            )
            for index, instruction in enumerate(self.program.instructions)
        )

    def times(self) -> NDArray[np.float64]:
        """Nanoseconds in the kernel of each instruction at each run, `[runs, instructions]`, all threads' added up."""
        count = 0 if self.program is None else len(self.program.instructions)
        ticks = np.zeros((self.runs, count))
        for row, run in zip(ticks, self._runs, strict=True):
            for notes in run.notes:
                np.add.at(row, notes[:, CallNote.INDEX], notes[:, CallNote.UNTIL] - notes[:, CallNote.FROM])
        return ticks * nanoseconds_per_tick()

    def times_per_thread(self) -> NDArray[np.float64]:
        """`times()` by the number of threads of each run, `[runs, instructions]`: with what threads spent between the
        calls they add up to `durations()`, also where runs had different numbers of threads."""
        return self.times() / self.team_sizes()[:, None]

    def durations(self) -> NDArray[np.float64]:
        """Nanoseconds that each run took, from entering native code to leaving it, `[runs]`."""
        return np.array([run.until - run.begin for run in self._runs], np.float64) * nanoseconds_per_tick()

    def calls(self, run: int = -1) -> tuple[KernelCall, ...]:
        """The calls of one run, in the order in which they began."""
        begin, _, threads = self._runs[run]
        scale = nanoseconds_per_tick()
        found = [
            KernelCall(thread, index, first, end, (since - begin) * scale, (until - begin) * scale)
            for thread, notes in enumerate(threads)
            for index, first, end, since, until in notes.tolist()
        ]
        return tuple(sorted(found, key=lambda call: call.begin))

    def spans(self) -> NDArray[np.int64]:
        """The loop's clock at the begin and the end of each run, in ticks, `[runs, 2]`."""
        return np.array([(run.begin, run.until) for run in self._runs], np.int64).reshape(-1, 2)

    def team_sizes(self) -> NDArray[np.int64]:
        """On how many threads each run was, whether or not all of them found work, `[runs]`."""
        return np.array([len(run.notes) for run in self._runs], np.int64)

    def items(self) -> NDArray[np.int64]:
        """Work items of each instruction done at each run, those of all steps of a loop, `[runs, instructions]`."""
        count = 0 if self.program is None else len(self.program.instructions)
        done = np.zeros((self.runs, count), np.int64)
        for row, run in zip(done, self._runs, strict=True):
            for notes in run.notes:
                np.add.at(row, notes[:, CallNote.INDEX], notes[:, CallNote.END] - notes[:, CallNote.BEGIN])
        return done

    def call_counts(self) -> NDArray[np.int64]:
        """How often each instruction's kernel was called in each run, by all threads, `[runs, instructions]`."""
        count = 0 if self.program is None else len(self.program.instructions)
        counts = np.zeros((self.runs, count), np.int64)
        for row, run in zip(counts, self._runs, strict=True):
            for notes in run.notes:
                row += np.bincount(notes[:, CallNote.INDEX], minlength=count)
        return counts

    @property
    def total_nanoseconds(self) -> float:
        """Time in native code, all runs together."""
        return float(self.durations().sum())

    def clear(self) -> None:
        """Forget the times, and the program."""
        self.__init__()  # type: ignore[misc]

    def table(self, most: int = 20) -> str:
        """The `most` costly instructions as text: mean microseconds of a run, share, label and kernel.

        Times are those of all threads of a run by their number, so with what they spent between the calls they add up
        to the time of a run.
        """
        instructions, times = self.instructions, self.times_per_thread().sum(0)
        order = sorted(range(len(instructions)), key=lambda position: -times[position])
        rows = [(times[i], f"{instructions[i].label} ({instructions[i].kernel})") for i in order[:most]]
        rows.append((self.total_nanoseconds - times.sum(), "between the calls of kernels"))
        runs, total = max(self.runs, 1), self.total_nanoseconds or 1.0
        lines = [f"{'us/run':>10} {'share':>6}  instruction"]
        lines += [f"{time / runs / 1e3:10.2f} {time / total:6.1%}  {text}" for time, text in rows]
        return "\n".join(lines)

    def __repr__(self) -> str:
        name = repr(self.program.name) if self.program else "no program"
        return f"<Profile of {name}: {self.runs} runs, {self.total_nanoseconds / 1e6:.3f} ms>"
