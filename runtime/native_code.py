"""The native instruction loop and its thread pool, as LLVM text.

Every function works on blocks of int64 slots that Python fills; the slot numbers below are shared with
`runtime.native` and `runtime.threads`. The operating system is reached through addresses in the pool block,
so the text itself depends on nothing but the processor.

- `run(frame, thread)` walks the instruction stream as one of several threads that all walk it (SPMD): each
  takes its own part of an instruction's work items, and a barrier follows where the next instruction may
  need what others made.
- `run_pooled(frame)` hands the frame to the parked workers, and is thread 0 itself.
- `run_steps(frame, steps, advances, count)` runs the frame so many times, and after each time moves `count`
  addresses on: `advances` holds pairs of a buffer's number and the bytes from its one step to the next.
- `work(pool, thread)` is a worker: it waits for a frame, runs it, and waits again until it gets a null frame.
- `stop(pool)` hands them that null frame.
- `ticks()` reads the processor's time stamp.

Waiting is the same everywhere: look again for a short while, then yield the processor some times, then
sleep on a condition variable, so that no core is kept busy by one that waits.
"""

from __future__ import annotations

from enum import IntEnum

from runtime.native_steps import STEPS

__all__ = ["ENTRY_POINTS", "Frame", "Pool", "Record", "native_code"]

ENTRY_POINTS = ("run", "run_pooled", "run_steps", "work", "stop", "ticks")


class Frame(IntEnum):
    """Slots of a frame: what one run of a program needs."""

    STREAM = 0  # address of the instruction records
    COUNT = 1  # number of instructions
    ADDRESSES = 2  # address of the table with one address for each buffer
    SCRATCH = 3  # address of thread 0's scratch memory
    SCRATCH_STRIDE = 4  # bytes from one thread's scratch memory to the next
    TIMINGS = 5  # address of one tick counter for each instruction, or 0
    MOST_OPERANDS = 6  # largest number of operands of an instruction
    THREADS = 7  # number of threads that run this frame
    FAILED = 8  # index of the first instruction that failed, or -1
    STATUS = 9  # what its kernel returned
    POOL = 10  # address of the pool block, or 0
    SIZE = 11


class Record(IntEnum):
    """Slots at the head of an instruction record; buffer indices and then extents follow."""

    FUNCTION = 0  # address of the kernel
    OPERANDS = 1  # number of operands
    EXTENTS = 2  # number of extents
    WORK = 3  # number of work items
    BARRIER = 4  # 1 when all threads meet after this instruction
    HEAD = 5


class Pool(IntEnum):
    """Slots of a pool block. What different threads write lies on different cache lines."""

    JOB = 0  # number of the current job
    JOB_FRAME = 1  # its frame; 0 tells the workers to return
    ARRIVED = 8  # threads that have reached the barrier
    GENERATION = 16  # number of barriers passed
    SLEEPERS = 24  # threads asleep, or about to be
    SPINS = 32  # looks before the first yield
    YIELDS = 33  # yields before sleep
    MUTEX = 34  # address of the operating system's mutex
    CONDITION = 35  # address of its condition variable
    LOCK = 36  # address of function (mutex)
    UNLOCK = 37  # address of function (mutex)
    WAIT = 38  # address of function (condition, mutex, timeout, flags)
    WAKE_ALL = 39  # address of function (condition)
    YIELD = 40  # address of function ()
    SIZE = 48


_WAITING = """
define internal ptr @pool_slot_pointer(ptr %pool, i64 %slot) alwaysinline {{
  %address_slot = getelementptr i64, ptr %pool, i64 %slot
  %address = load i64, ptr %address_slot
  %pointer = inttoptr i64 %address to ptr
  ret ptr %pointer
}}

define internal void @wait_for_change(ptr %word, i64 %old, ptr %pool) noinline {{
entry:
  %spins_slot = getelementptr i64, ptr %pool, i64 {pool.SPINS}
  %yields_slot = getelementptr i64, ptr %pool, i64 {pool.YIELDS}
  %spins = load i64, ptr %spins_slot
  %yields = load i64, ptr %yields_slot
  br label %spin
spin:
  %spin_count = phi i64 [ 0, %entry ], [ %spin_next, %pause ]
  %spin_value = load atomic i64, ptr %word acquire, align 8
  %spin_same = icmp eq i64 %spin_value, %old
  br i1 %spin_same, label %spin_more, label %done
spin_more:
  %spin_left = icmp slt i64 %spin_count, %spins
  br i1 %spin_left, label %pause, label %yield_start
pause:
  {pause}
  %spin_next = add i64 %spin_count, 1
  br label %spin
yield_start:
  %yield_function = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.YIELD})
  br label %yield
yield:
  %yield_count = phi i64 [ 0, %yield_start ], [ %yield_next, %give_way ]
  %yield_value = load atomic i64, ptr %word acquire, align 8
  %yield_same = icmp eq i64 %yield_value, %old
  br i1 %yield_same, label %yield_more, label %done
yield_more:
  %yield_left = icmp slt i64 %yield_count, %yields
  br i1 %yield_left, label %give_way, label %sleep
give_way:
  %yielded = call i32 %yield_function()
  %yield_next = add i64 %yield_count, 1
  br label %yield
sleep:
  %mutex = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.MUTEX})
  %condition = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.CONDITION})
  %lock = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.LOCK})
  %unlock = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.UNLOCK})
  %wait = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.WAIT})
  %sleepers = getelementptr i64, ptr %pool, i64 {pool.SLEEPERS}
  %locked = call i32 %lock(ptr %mutex)
  ; Sequentially consistent, as is the store in @change: either this thread sees the new value,
  ; or the one that stored it sees a sleeper and wakes it. The mutex closes the gap before the wait.
  %sleepers_before = atomicrmw add ptr %sleepers, i64 1 seq_cst
  br label %asleep
asleep:
  %asleep_value = load atomic i64, ptr %word seq_cst, align 8
  %asleep_same = icmp eq i64 %asleep_value, %old
  br i1 %asleep_same, label %keep_sleeping, label %awake
keep_sleeping:
  %woken = call i32 %wait(ptr %condition, ptr %mutex, i32 -1, i32 0)
  br label %asleep
awake:
  %sleepers_after = atomicrmw sub ptr %sleepers, i64 1 seq_cst
  %unlocked = call i32 %unlock(ptr %mutex)
  br label %done
done:
  ret void
}}

define internal void @change(ptr %word, i64 %value, ptr %pool) noinline {{
entry:
  store atomic i64 %value, ptr %word seq_cst, align 8
  %sleepers_slot = getelementptr i64, ptr %pool, i64 {pool.SLEEPERS}
  %sleepers = load atomic i64, ptr %sleepers_slot seq_cst, align 8
  %nobody = icmp eq i64 %sleepers, 0
  br i1 %nobody, label %done, label %wake
wake:
  %mutex = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.MUTEX})
  %condition = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.CONDITION})
  %lock = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.LOCK})
  %unlock = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.UNLOCK})
  %wake_all = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.WAKE_ALL})
  %locked = call i32 %lock(ptr %mutex)
  %woken = call i32 %wake_all(ptr %condition)
  %unlocked = call i32 %unlock(ptr %mutex)
  br label %done
done:
  ret void
}}

define internal void @barrier(ptr %pool, i64 %threads) {{
entry:
  %generation = getelementptr i64, ptr %pool, i64 {pool.GENERATION}
  %arrived = getelementptr i64, ptr %pool, i64 {pool.ARRIVED}
  ; Read before arriving: it cannot change until every thread has arrived.
  %now = load atomic i64, ptr %generation monotonic, align 8
  %before = atomicrmw add ptr %arrived, i64 1 acq_rel
  %last = sub i64 %threads, 1
  %is_last = icmp eq i64 %before, %last
  br i1 %is_last, label %release, label %wait
release:
  store atomic i64 0, ptr %arrived monotonic, align 8
  %next = add i64 %now, 1
  call void @change(ptr %generation, i64 %next, ptr %pool)
  ret void
wait:
  call void @wait_for_change(ptr %generation, i64 %now, ptr %pool)
  ret void
}}
"""

_LOOP = """
define internal i64 @frame_slot(ptr %frame, i64 %slot) alwaysinline {{
  %pointer = getelementptr i64, ptr %frame, i64 %slot
  %value = load i64, ptr %pointer
  ret i64 %value
}}

define internal void @execute(ptr %frame, ptr %record, i64 %index, i64 %begin, i64 %end,
                              ptr %pointers, ptr %results, i64 %scratch) {{
entry:
  %failed_slot = getelementptr i64, ptr %frame, i64 {frame.FAILED}
  %failed = load atomic i64, ptr %failed_slot monotonic, align 8
  %sound = icmp slt i64 %failed, 0
  %some = icmp slt i64 %begin, %end
  %go = and i1 %sound, %some
  br i1 %go, label %start, label %done
start:
  %function_address = call i64 @frame_slot(ptr %record, i64 {record.FUNCTION})
  %operands = call i64 @frame_slot(ptr %record, i64 {record.OPERANDS})
  %addresses_address = call i64 @frame_slot(ptr %frame, i64 {frame.ADDRESSES})
  %function = inttoptr i64 %function_address to ptr
  %addresses = inttoptr i64 %addresses_address to ptr
  %indices = getelementptr i64, ptr %record, i64 {record.HEAD}
  %extents = getelementptr i64, ptr %indices, i64 %operands
  br label %gather
gather:
  %position = phi i64 [ 0, %start ], [ %position_next, %gather_one ]
  %gathering = icmp slt i64 %position, %operands
  br i1 %gathering, label %gather_one, label %call
gather_one:
  %index_slot = getelementptr i64, ptr %indices, i64 %position
  %buffer = load i64, ptr %index_slot
  %address_slot = getelementptr i64, ptr %addresses, i64 %buffer
  %address = load i64, ptr %address_slot
  %pointer_slot = getelementptr i64, ptr %pointers, i64 %position
  store i64 %address, ptr %pointer_slot
  %position_next = add i64 %position, 1
  br label %gather
call:
  %exception = getelementptr i64, ptr %results, i64 1
  %status = call i32 %function(ptr %results, ptr %exception, ptr %pointers, ptr %extents,
                               i64 %scratch, i64 %begin, i64 %end)
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %done, label %fail
fail:
  %status_wide = sext i32 %status to i64
  %exchange = cmpxchg ptr %failed_slot, i64 -1, i64 %index seq_cst seq_cst
  %first = extractvalue {{ i64, i1 }} %exchange, 1
  br i1 %first, label %report, label %done
report:
  %status_slot = getelementptr i64, ptr %frame, i64 {frame.STATUS}
  store i64 %status_wide, ptr %status_slot
  br label %done
done:
  ret void
}}

define i64 @run(ptr %frame, i64 %thread) {{
entry:
  %stream_address = call i64 @frame_slot(ptr %frame, i64 {frame.STREAM})
  %count = call i64 @frame_slot(ptr %frame, i64 {frame.COUNT})
  %scratch_start = call i64 @frame_slot(ptr %frame, i64 {frame.SCRATCH})
  %scratch_stride = call i64 @frame_slot(ptr %frame, i64 {frame.SCRATCH_STRIDE})
  %timings_address = call i64 @frame_slot(ptr %frame, i64 {frame.TIMINGS})
  %most_operands = call i64 @frame_slot(ptr %frame, i64 {frame.MOST_OPERANDS})
  %threads = call i64 @frame_slot(ptr %frame, i64 {frame.THREADS})
  %pool_address = call i64 @frame_slot(ptr %frame, i64 {frame.POOL})
  %stream = inttoptr i64 %stream_address to ptr
  %timings = inttoptr i64 %timings_address to ptr
  %pool = inttoptr i64 %pool_address to ptr
  %scratch_offset = mul i64 %scratch_stride, %thread
  %scratch = add i64 %scratch_start, %scratch_offset
  %pointers = alloca i64, i64 %most_operands, align 64
  %results = alloca i64, i64 2, align 16
  %round_up = sub i64 %threads, 1
  %has_timings = icmp ne i64 %timings_address, 0
  %is_first = icmp eq i64 %thread, 0
  %timed = and i1 %has_timings, %is_first
  %several = icmp sgt i64 %threads, 1
  %started = call i64 {ticks}()
  br label %head
head:
  %index = phi i64 [ 0, %entry ], [ %index_next, %advance ]
  %record = phi ptr [ %stream, %entry ], [ %record_next, %advance ]
  %before = phi i64 [ %started, %entry ], [ %after, %advance ]
  %more = icmp slt i64 %index, %count
  br i1 %more, label %body, label %done
body:
  %work = call i64 @frame_slot(ptr %record, i64 {record.WORK})
  ; Thread t takes the items from ceil(work*t/threads): a single item falls to thread 0.
  %next_thread = add i64 %thread, 1
  %begin_product = mul i64 %work, %thread
  %end_product = mul i64 %work, %next_thread
  %begin_sum = add i64 %begin_product, %round_up
  %end_sum = add i64 %end_product, %round_up
  %begin = sdiv i64 %begin_sum, %threads
  %end = sdiv i64 %end_sum, %threads
  call void @execute(ptr %frame, ptr %record, i64 %index, i64 %begin, i64 %end,
                     ptr %pointers, ptr %results, i64 %scratch)
  %barrier_flag = call i64 @frame_slot(ptr %record, i64 {record.BARRIER})
  %barrier_wanted = icmp ne i64 %barrier_flag, 0
  %meet = and i1 %several, %barrier_wanted
  br i1 %meet, label %together, label %measure
together:
  call void @barrier(ptr %pool, i64 %threads)
  br label %measure
measure:
  br i1 %timed, label %store_time, label %advance
store_time:
  %read = call i64 {ticks}()
  %elapsed = sub i64 %read, %before
  %timing_slot = getelementptr i64, ptr %timings, i64 %index
  %total = load i64, ptr %timing_slot
  %new_total = add i64 %total, %elapsed
  store i64 %new_total, ptr %timing_slot
  br label %advance
advance:
  %after = phi i64 [ %before, %measure ], [ %read, %store_time ]
  %operands = call i64 @frame_slot(ptr %record, i64 {record.OPERANDS})
  %extents = call i64 @frame_slot(ptr %record, i64 {record.EXTENTS})
  %tail = add i64 %operands, %extents
  %length = add i64 %tail, {record.HEAD}
  %record_next = getelementptr i64, ptr %record, i64 %length
  %index_next = add i64 %index, 1
  br label %head
done:
  %failed = call i64 @frame_slot(ptr %frame, i64 {frame.FAILED})
  ret i64 %failed
}}

define internal void @post(ptr %pool, i64 %frame_address) {{
  %job_frame = getelementptr i64, ptr %pool, i64 {pool.JOB_FRAME}
  store i64 %frame_address, ptr %job_frame
  %job = getelementptr i64, ptr %pool, i64 {pool.JOB}
  %number = load atomic i64, ptr %job monotonic, align 8
  %next = add i64 %number, 1
  call void @change(ptr %job, i64 %next, ptr %pool)
  ret void
}}

define i64 @stop(ptr %pool) {{
  call void @post(ptr %pool, i64 0)
  ret i64 0
}}

define i64 @run_pooled(ptr %frame) {{
  %pool_address = call i64 @frame_slot(ptr %frame, i64 {frame.POOL})
  %frame_address = ptrtoint ptr %frame to i64
  %pool = inttoptr i64 %pool_address to ptr
  call void @post(ptr %pool, i64 %frame_address)
  %failed = call i64 @run(ptr %frame, i64 0)
  ret i64 %failed
}}

define i64 @work(ptr %pool, i64 %thread) {{
entry:
  %job = getelementptr i64, ptr %pool, i64 {pool.JOB}
  %job_frame = getelementptr i64, ptr %pool, i64 {pool.JOB_FRAME}
  br label %wait
wait:
  %seen = phi i64 [ 0, %entry ], [ %current, %run ]
  call void @wait_for_change(ptr %job, i64 %seen, ptr %pool)
  %current = load atomic i64, ptr %job acquire, align 8
  %frame_address = load i64, ptr %job_frame
  %stop = icmp eq i64 %frame_address, 0
  br i1 %stop, label %done, label %run
run:
  %frame = inttoptr i64 %frame_address to ptr
  %failed = call i64 @run(ptr %frame, i64 %thread)
  br label %wait
done:
  ret i64 %current
}}

define i64 @ticks() {{
  %now = call i64 {ticks}()
  ret i64 %now
}}
"""


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
    text = _WAITING + _LOOP + STEPS
    return "\n".join(declarations) + text.format(
        frame=_Numbers(Frame), record=_Numbers(Record), pool=_Numbers(Pool), ticks=ticks, pause=pause
    )


class _Numbers:
    """Slot numbers by attribute, as plain integers for `str.format`."""

    def __init__(self, slots: type[IntEnum]) -> None:
        self.__dict__.update({slot.name: int(slot) for slot in slots})
