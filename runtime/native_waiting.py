"""How threads wait for each other, as LLVM text: look again for a short while, then yield the processor some
times, then sleep on a condition variable, so that no core is kept busy by one that waits.

`runtime.native_code` fills in the slot numbers and the processor's pause instruction.
"""

from __future__ import annotations

__all__ = ["WAITING"]

WAITING = """
define internal ptr @pool_slot_pointer(ptr %pool, i64 %slot) alwaysinline {{
  %address_slot = getelementptr i64, ptr %pool, i64 %slot
  %address = load i64, ptr %address_slot
  %pointer = inttoptr i64 %address to ptr
  ret ptr %pointer
}}

; Whether the word has changed within the looks before the first yield.
define internal i1 @look_for_change(ptr %word, i64 %old, ptr %pool) {{
entry:
  %spins_slot = getelementptr i64, ptr %pool, i64 {pool.SPINS}
  %spins = load i64, ptr %spins_slot
  br label %spin
spin:
  %count = phi i64 [ 0, %entry ], [ %next, %pause ]
  %value = load atomic i64, ptr %word acquire, align 8
  %same = icmp eq i64 %value, %old
  br i1 %same, label %more, label %changed
more:
  %left = icmp slt i64 %count, %spins
  br i1 %left, label %pause, label %unchanged
pause:
  {pause}
  %next = add i64 %count, 1
  br label %spin
changed:
  ret i1 true
unchanged:
  ret i1 false
}}

define internal void @wait_for_change(ptr %word, i64 %old, ptr %pool) noinline {{
entry:
  %seen = call i1 @look_for_change(ptr %word, i64 %old, ptr %pool)
  br i1 %seen, label %done, label %yield_start
yield_start:
  %yields_slot = getelementptr i64, ptr %pool, i64 {pool.YIELDS}
  %yields = load i64, ptr %yields_slot
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
  call void @sleep_until_change(ptr %word, i64 %old, ptr %pool)
  br label %done
done:
  ret void
}}

define internal void @sleep_until_change(ptr %word, i64 %old, ptr %pool) noinline {{
entry:
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
  %value = load atomic i64, ptr %word seq_cst, align 8
  %same = icmp eq i64 %value, %old
  br i1 %same, label %keep_sleeping, label %awake
keep_sleeping:
  %woken = call i32 %wait(ptr %condition, ptr %mutex, i32 -1, i32 0)
  br label %asleep
awake:
  %sleepers_after = atomicrmw sub ptr %sleepers, i64 1 seq_cst
  %unlocked = call i32 %unlock(ptr %mutex)
  ret void
}}

; Store a word that others wait for; sleepers are woken if `wake`, else they see it when they are next.
define internal void @change(ptr %word, i64 %value, ptr %pool, i1 %wake) noinline {{
entry:
  store atomic i64 %value, ptr %word seq_cst, align 8
  br i1 %wake, label %look, label %done
look:
  %sleepers_slot = getelementptr i64, ptr %pool, i64 {pool.SLEEPERS}
  %sleepers = load atomic i64, ptr %sleepers_slot seq_cst, align 8
  %nobody = icmp eq i64 %sleepers, 0
  br i1 %nobody, label %done, label %rouse
rouse:
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
"""
