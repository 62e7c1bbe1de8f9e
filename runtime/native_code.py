"""The native instruction loop and its thread pool: the blocks of memory it shares with Python, and its text.

Every function works on blocks of int64 slots that Python fills; the slot numbers below are shared with
`runtime.binding` and `runtime.threads`. The operating system is reached through addresses in the pool block,
so the text itself depends on nothing but the processor.

- `run(frame)` walks the stretches of the program, each a run of instructions, on the calling thread.
- `run_pooled(frame)` walks it together with the pool's workers (SPMD): all go through the *phases*, runs of
  instructions that do not depend on each other. An instruction's work items are cut into *grains*; each thread
  takes grains of its own contiguous range, three quarters of what is left at a time, and then of the others'.
  Whoever completes a phase opens the next one: a thread that sleeps, or has lost its core to another process, is
  not waited for unless it holds grains. Which thread works on an item changes no bit.
- `run_steps(frame, steps, advances, count)` runs the frame so many times, and after each time moves `count`
  addresses on: `advances` holds pairs of a buffer's number and the bytes from its one step to the next. Where calls
  are noted, each step is as well.
- `work(pool, thread)` is a worker: it waits for a job, takes part, and waits again until it is told to stop.
- `stop(pool)` tells them.
- `ticks()` reads the processor's time stamp.
"""

from __future__ import annotations

from enum import IntEnum

from runtime.native_instructions import ALONE, TOGETHER
from runtime.native_loops import LOOPS
from runtime.native_steps import STEPS
from runtime.native_waiting import WAITING

__all__ = [
    "ENTRY_POINTS",
    "LINE",
    "WHOLE_STEP",
    "CallNote",
    "Frame",
    "Notes",
    "PhaseEntry",
    "Pool",
    "Record",
    "native_code",
]

ENTRY_POINTS = ("run", "run_pooled", "run_steps", "work", "stop", "ticks")


class Frame(IntEnum):
    """Slots of a frame: what one run of a program needs."""

    STRETCHES = 0  # address of the first entry to run alone
    STRETCH_COUNT = 1  # number of entries from there on
    START = 2  # index of the first instruction to run
    ADDRESSES = 3  # address of the table with one address for each buffer
    SCRATCH = 4  # address of thread 0's scratch memory
    SCRATCH_STRIDE = 5  # bytes from one thread's scratch memory to the next
    NOTES = 6  # address of a table with the address of one block of notes for each thread, or 0
    MOST_OPERANDS = 7  # largest number of operands of an instruction
    THREADS = 8  # number of threads that run this frame
    FAILED = 9  # index of the first instruction that failed, or -1
    STATUS = 10  # what its kernel returned
    POOL = 11  # address of the pool block, or 0
    PHASES = 12  # address of the first phase entry to run
    PHASE_COUNT = 13  # number of phases from there on
    FIRST_NUMBER = 14  # the pool's number of the first of them; set by run_pooled
    EPOCH = 15  # the pool's epoch of instruction 0; set by run_pooled
    EPOCHS = 16  # epochs that one run takes
    SIZE = 17


class Notes(IntEnum):
    """Slots at the head of a thread's block of notes, a row of `CallNote` for each call of a kernel."""

    USED = 0  # rows written
    MOST = 1  # rows there is room for
    DROPPED = 2  # calls that found no room
    HEAD = 8


class CallNote(IntEnum):
    """Slots of a row of notes: a call of a kernel."""

    INDEX = 0  # of the instruction, or WHOLE_STEP
    BEGIN = 1  # first work item, or which step
    END = 2  # the one after the last
    FROM = 3  # ticks before the call
    UNTIL = 4  # and after it
    SIZE = 5


# The index in the row that thread 0 adds after each step of `run_steps`, of all it did.
WHOLE_STEP = -1


class Record(IntEnum):
    """Slots at the head of an instruction record; buffer indices and then extents follow."""

    FUNCTION = 0  # address of the kernel
    OPERANDS = 1  # number of operands
    EXTENTS = 2  # number of extents
    WORK = 3  # number of work items
    GRAINS = 4  # parts that threads may take, at most MOST_GRAINS for each thread
    KEEPS = 5  # CONTINUED where the kernel keeps private memory from item to item, else 0
    HEAD = 6


class PhaseEntry(IntEnum):
    """Slots of an entry of the phase table, or of the stretches that one thread runs alone. One more entry ends the
    table: its WAKE is 1, since the caller may be asleep, and all else is 0."""

    RECORD = 0  # address of the first instruction record
    FIRST = 1  # index of that instruction
    END = 2  # index after the last instruction
    GRAINS = 3  # grains of all its instructions, at least 1
    WAKE = 4  # 1 when sleeping threads are woken for it
    EPOCH = 5  # epochs that steps of loops have taken before, beyond one for each instruction
    MOVES = 6  # address of rows of three: a window, the buffer that it is a part of, and bytes from that one's begin
    MOVE_COUNT = 7  # number of rows
    LIMIT = 8  # 0, or one more than the number of a buffer that says how many steps of the loop there are
    STEP = 9  # which step this is
    BEYOND = 10  # 1 where steps run that are not below the limit, 0 where those do that are
    PATCHES = 11  # address of rows of four: the address of a size in the stream, that of the sizes that it takes, by
    # the number of steps that run, the buffer with that number, and the largest that it may be
    PATCH_COUNT = 12  # number of rows
    SIZE = 13


class Pool(IntEnum):
    """Slots of a pool block. What different threads write lies on different cache lines. A line for each thread
    follows at `CLAIMS`."""

    OPEN = 0  # 1 while workers may enter the job, -1 when they are to return
    JOB_FRAME = 1  # the job's frame
    EPOCH = 2  # epochs given out so far
    ACTIVE = 8  # workers that may read the job's frame
    PHASE = 16  # number of the current phase, counted over all jobs
    DONE = 24  # grains of the current phase that are finished
    SLEEPERS = 32  # threads asleep, or about to be
    SPINS = 40  # looks before the first yield
    YIELDS = 41  # yields before sleep
    MUTEX = 42  # address of the operating system's mutex
    CONDITION = 43  # address of its condition variable
    LOCK = 44  # address of function (mutex)
    UNLOCK = 45  # address of function (mutex)
    WAIT = 46  # address of function (condition, mutex, timeout, flags)
    WAKE_ALL = 47  # address of function (condition)
    YIELD = 48  # address of function ()
    CLAIMS = 56  # the threads' claim words, one on each cache line: see the text of @take_part


# Slots of a cache line.
LINE = 8
# Grains of a range of which the last is taken by itself.
MANY_GRAINS = 6


def native_code(architecture: str) -> str:
    """The loop for a processor architecture, the first part of an LLVM triple (`x86_64`, `aarch64`,
    `arm64`)."""
    is_x86 = architecture in ("x86_64", "amd64", "i386", "i686")
    is_arm = architecture in ("aarch64", "arm64")
    # On ARM the cycle counter is closed to user programs; the steady counter is the generic timer.
    ticks = "@llvm.readsteadycounter" if is_arm else "@llvm.readcyclecounter"
    pause = ""
    declarations = [f"declare i64 {ticks}()"]
    if is_x86:
        declarations.append("declare void @llvm.x86.sse2.pause()")
        pause = "call void @llvm.x86.sse2.pause()"
    elif is_arm:
        pause = 'call void asm sideeffect "yield", "~{memory}"()'
    slots = {
        "frame": _Numbers(Frame),
        "record": _Numbers(Record),
        "phase": _Numbers(PhaseEntry),
        "pool": _Numbers(Pool),
        "notes": _Numbers(Notes),
        "note": _Numbers(CallNote),
    }
    text = (WAITING + ALONE + LOOPS + TOGETHER + STEPS).format(
        **slots, line=LINE, many=MANY_GRAINS, ticks=ticks, pause=pause, whole_step=WHOLE_STEP
    )
    return "\n".join([*declarations, text])


class _Numbers:
    """Slot numbers by attribute, as plain integers for `str.format`."""

    def __init__(self, slots: type[IntEnum]) -> None:
        self.__dict__.update({name: int(slot) for name, slot in slots.__members__.items()})
