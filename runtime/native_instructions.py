"""Running an instruction stream, as LLVM text: alone, and together with the workers of a pool.

`runtime.native_code` fills in the slot numbers and the processor's clock.
"""

from __future__ import annotations

__all__ = ["ALONE", "TOGETHER"]

ALONE = """
define internal i64 @slot(ptr %block, i64 %number) alwaysinline {{
  %pointer = getelementptr i64, ptr %block, i64 %number
  %value = load i64, ptr %pointer
  ret i64 %value
}}

; `ended`: where the last call of this instruction by this thread ended, or -1. A kernel that keeps private memory is
; told where it goes on from there.
define internal void @execute(ptr %frame, ptr %record, i64 %index, i64 %begin, i64 %end, i64 %ended,
                              ptr %pointers, ptr %results, i64 %scratch) {{
entry:
  %failed_slot = getelementptr i64, ptr %frame, i64 {frame.FAILED}
  %failed = load atomic i64, ptr %failed_slot monotonic, align 8
  %sound = icmp slt i64 %failed, 0
  %some = icmp slt i64 %begin, %end
  %go = and i1 %sound, %some
  br i1 %go, label %start, label %done
start:
  %function_address = call i64 @slot(ptr %record, i64 {record.FUNCTION})
  %operands = call i64 @slot(ptr %record, i64 {record.OPERANDS})
  %addresses_address = call i64 @slot(ptr %frame, i64 {frame.ADDRESSES})
  %function = inttoptr i64 %function_address to ptr
  %addresses = inttoptr i64 %addresses_address to ptr
  %indices = getelementptr i64, ptr %record, i64 {record.HEAD}
  %extents = getelementptr i64, ptr %indices, i64 %operands
  %notes_address = call i64 @slot(ptr %results, i64 2)
  %noting = icmp ne i64 %notes_address, 0
  br i1 %noting, label %read_clock, label %ready
read_clock:
  %clock = call i64 {ticks}()
  br label %ready
ready:
  %from = phi i64 [ 0, %start ], [ %clock, %read_clock ]
  br label %gather
gather:
  %position = phi i64 [ 0, %ready ], [ %position_next, %gather_one ]
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
  %keeps = call i64 @slot(ptr %record, i64 {record.KEEPS})
  %continues = icmp eq i64 %begin, %ended
  %mark = select i1 %continues, i64 %keeps, i64 0
  %marked = or i64 %begin, %mark
  %status = call i32 %function(ptr %results, ptr %exception, ptr %pointers, ptr %extents,
                               i64 %scratch, i64 %marked, i64 %end)
  br i1 %noting, label %note, label %returned
note:
  %notes = inttoptr i64 %notes_address to ptr
  call void @note(ptr %notes, i64 %index, i64 %begin, i64 %end, i64 %from)
  br label %returned
returned:
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

define internal ptr @after(ptr %record) alwaysinline {{
  %operands = call i64 @slot(ptr %record, i64 {record.OPERANDS})
  %extents = call i64 @slot(ptr %record, i64 {record.EXTENTS})
  %tail = add i64 %operands, %extents
  %length = add i64 %tail, {record.HEAD}
  %next = getelementptr i64, ptr %record, i64 %length
  ret ptr %next
}}

; What a thread's calls need beside their pointers: two slots for what a kernel returns, then the address of the
; thread's block of notes, or 0.
define internal void @attach_notes(ptr %frame, i64 %thread, ptr %results) {{
entry:
  %table_address = call i64 @slot(ptr %frame, i64 {frame.NOTES})
  %some = icmp ne i64 %table_address, 0
  br i1 %some, label %look, label %attach
look:
  %table = inttoptr i64 %table_address to ptr
  %block = call i64 @slot(ptr %table, i64 %thread)
  br label %attach
attach:
  %notes = phi i64 [ 0, %entry ], [ %block, %look ]
  %notes_slot = getelementptr i64, ptr %results, i64 2
  store i64 %notes, ptr %notes_slot
  ret void
}}

; Note a call that has just returned.
define internal void @note(ptr %notes, i64 %index, i64 %begin, i64 %end, i64 %from) noinline {{
entry:
  %until = call i64 {ticks}()
  %used = call i64 @slot(ptr %notes, i64 {notes.USED})
  %most = call i64 @slot(ptr %notes, i64 {notes.MOST})
  %fits = icmp slt i64 %used, %most
  br i1 %fits, label %keep, label %drop
keep:
  %place = mul i64 %used, {note.SIZE}
  %offset = add i64 %place, {notes.HEAD}
  %row = getelementptr i64, ptr %notes, i64 %offset
  %index_slot = getelementptr i64, ptr %row, i64 {note.INDEX}
  store i64 %index, ptr %index_slot
  %begin_slot = getelementptr i64, ptr %row, i64 {note.BEGIN}
  store i64 %begin, ptr %begin_slot
  %end_slot = getelementptr i64, ptr %row, i64 {note.END}
  store i64 %end, ptr %end_slot
  %from_slot = getelementptr i64, ptr %row, i64 {note.FROM}
  store i64 %from, ptr %from_slot
  %until_slot = getelementptr i64, ptr %row, i64 {note.UNTIL}
  store i64 %until, ptr %until_slot
  %used_next = add i64 %used, 1
  %used_slot = getelementptr i64, ptr %notes, i64 {notes.USED}
  store i64 %used_next, ptr %used_slot
  ret void
drop:
  %dropped = call i64 @slot(ptr %notes, i64 {notes.DROPPED})
  %dropped_next = add i64 %dropped, 1
  %dropped_slot = getelementptr i64, ptr %notes, i64 {notes.DROPPED}
  store i64 %dropped_next, ptr %dropped_slot
  ret void
}}
"""

TOGETHER = """
; The first grain of a thread's own range: ceil(grains * thread / threads).
define internal i64 @first_grain(i64 %grains, i64 %thread, i64 %threads) alwaysinline {{
  %product = mul i64 %grains, %thread
  %round_up = sub i64 %threads, 1
  %sum = add i64 %product, %round_up
  %first = udiv i64 %sum, %threads
  ret i64 %first
}}

; Work on grains of one instruction until all are taken: those of the own range first, then those that others have
; left. Returns how many it was. A range's claim word is `epoch * 64 + grains taken`; the epoch grows with every
; instruction of every job, so a word of an older one means that nothing is taken yet, and no word is ever reset.
define internal i64 @take_part(ptr %frame, ptr %pool, ptr %record, i64 %index, i64 %first_epoch, i64 %thread,
                               i64 %threads, ptr %pointers, ptr %results, i64 %scratch) {{
entry:
  %work = call i64 @slot(ptr %record, i64 {record.WORK})
  %grains = call i64 @slot(ptr %record, i64 {record.GRAINS})
  %epoch = add i64 %first_epoch, %index
  %untouched = shl i64 %epoch, 6
  %claims = getelementptr i64, ptr %pool, i64 {pool.CLAIMS}
  br label %ranges
ranges:
  %offset = phi i64 [ 0, %entry ], [ %offset_next, %next_range ]
  %ended_before = phi i64 [ -1, %entry ], [ %ended_here, %next_range ]
  %taken_before = phi i64 [ 0, %entry ], [ %taken_all, %next_range ]
  %has_range = icmp slt i64 %offset, %threads
  br i1 %has_range, label %range, label %done
range:
  %owner_far = add i64 %thread, %offset
  %wraps = icmp sge i64 %owner_far, %threads
  %owner_wrapped = sub i64 %owner_far, %threads
  %owner = select i1 %wraps, i64 %owner_wrapped, i64 %owner_far
  %owner_next = add i64 %owner, 1
  %first = call i64 @first_grain(i64 %grains, i64 %owner, i64 %threads)
  %last = call i64 @first_grain(i64 %grains, i64 %owner_next, i64 %threads)
  %size = sub i64 %last, %first
  %line = mul i64 %owner, {line}
  %claim = getelementptr i64, ptr %claims, i64 %line
  br label %try
try:
  %taken_here = phi i64 [ %taken_before, %range ], [ %taken_here, %take ], [ %taken_more, %work_on ]
  %ended_here = phi i64 [ %ended_before, %range ], [ %ended_here, %take ], [ %end, %work_on ]
  %word = load atomic i64, ptr %claim acquire, align 8
  %is_old = icmp slt i64 %word, %untouched
  %claimed = sub i64 %word, %untouched
  %used = select i1 %is_old, i64 0, i64 %claimed
  %left = sub i64 %size, %used
  %some_left = icmp sgt i64 %left, 0
  br i1 %some_left, label %take, label %next_range
take:
  ; Three quarters of what is left: few calls, and little to wait for at the end. Of a range of many grains rounded
  ; down, so that the last is taken by itself: the gradient of attention over 16 heads left each thread two of them to
  ; the last. Of a few rounded up: rounded down, one image on two cores took no less (a depthwise net 312 and 302 -> 316
  ; and 307 us, ResNet-20 413 and 410 -> 414 and 417, medians, in turn).
  %many = icmp sge i64 %size, {many}
  %rounding = select i1 %many, i64 3, i64 0
  %left_and_rounding = add i64 %left, %rounding
  %quarter = lshr i64 %left_and_rounding, 2
  %three_quarters = sub i64 %left, %quarter
  %is_last = icmp eq i64 %left, 1
  %number = select i1 %is_last, i64 1, i64 %three_quarters
  %used_next = add i64 %used, %number
  %word_next = add i64 %untouched, %used_next
  %exchange = cmpxchg ptr %claim, i64 %word, i64 %word_next acq_rel acquire
  %won = extractvalue {{ i64, i1 }} %exchange, 1
  br i1 %won, label %work_on, label %try
work_on:
  %grain = add i64 %first, %used
  %grain_end = add i64 %grain, %number
  %begin_product = mul i64 %work, %grain
  %end_product = mul i64 %work, %grain_end
  %begin = udiv i64 %begin_product, %grains
  %end = udiv i64 %end_product, %grains
  call void @execute(ptr %frame, ptr %record, i64 %index, i64 %begin, i64 %end, i64 %ended_here,
                     ptr %pointers, ptr %results, i64 %scratch)
  %taken_more = add i64 %taken_here, %number
  br label %try
next_range:
  %taken_all = phi i64 [ %taken_here, %try ]
  %offset_next = add i64 %offset, 1
  br label %ranges
done:
  ret i64 %taken_before
}}

; Take part in a job's phases. Thread 0 returns when the last one is done; a worker also when it has looked in vain
; for a next phase. Returns the number of the last phase seen.
define internal i64 @share(ptr %frame, ptr %pool, i64 %thread) {{
entry:
  %scratch_start = call i64 @slot(ptr %frame, i64 {frame.SCRATCH})
  %scratch_stride = call i64 @slot(ptr %frame, i64 {frame.SCRATCH_STRIDE})
  %most_operands = call i64 @slot(ptr %frame, i64 {frame.MOST_OPERANDS})
  %threads = call i64 @slot(ptr %frame, i64 {frame.THREADS})
  %phases_address = call i64 @slot(ptr %frame, i64 {frame.PHASES})
  %phase_count = call i64 @slot(ptr %frame, i64 {frame.PHASE_COUNT})
  %first_number = call i64 @slot(ptr %frame, i64 {frame.FIRST_NUMBER})
  %phases = inttoptr i64 %phases_address to ptr
  %scratch_offset = mul i64 %scratch_stride, %thread
  %scratch = add i64 %scratch_start, %scratch_offset
  %pointers = alloca i64, i64 %most_operands, align 64
  %results = alloca i64, i64 3, align 16
  call void @attach_notes(ptr %frame, i64 %thread, ptr %results)
  %is_first = icmp eq i64 %thread, 0
  %number_slot = getelementptr i64, ptr %pool, i64 {pool.PHASE}
  %done_slot = getelementptr i64, ptr %pool, i64 {pool.DONE}
  br label %enter
enter:
  %number = load atomic i64, ptr %number_slot acquire, align 8
  %phase = sub i64 %number, %first_number
  %inside = icmp ult i64 %phase, %phase_count
  br i1 %inside, label %begin_phase, label %leave
begin_phase:
  %entry_offset = mul i64 %phase, {phase.SIZE}
  %entry_slot = getelementptr i64, ptr %phases, i64 %entry_offset
  %record_address = call i64 @slot(ptr %entry_slot, i64 {phase.RECORD})
  %first_index = call i64 @slot(ptr %entry_slot, i64 {phase.FIRST})
  %end_index = call i64 @slot(ptr %entry_slot, i64 {phase.END})
  %grains = call i64 @slot(ptr %entry_slot, i64 {phase.GRAINS})
  %later = call i64 @slot(ptr %entry_slot, i64 {phase.EPOCH})
  %job_epoch = call i64 @slot(ptr %frame, i64 {frame.EPOCH})
  %first_epoch = add i64 %job_epoch, %later
  %first_record = inttoptr i64 %record_address to ptr
  br label %walk
walk:
  %index = phi i64 [ %first_index, %begin_phase ], [ %index_next, %one ]
  %record = phi ptr [ %first_record, %begin_phase ], [ %record_next, %one ]
  %mine = phi i64 [ 0, %begin_phase ], [ %mine_next, %one ]
  %more = icmp slt i64 %index, %end_index
  br i1 %more, label %one, label %walked
one:
  %taken = call i64 @take_part(ptr %frame, ptr %pool, ptr %record, i64 %index, i64 %first_epoch, i64 %thread,
                               i64 %threads, ptr %pointers, ptr %results, i64 %scratch)
  %mine_next = add i64 %mine, %taken
  %record_next = call ptr @after(ptr %record)
  %index_next = add i64 %index, 1
  br label %walk
walked:
  %worked = icmp ne i64 %mine, 0
  br i1 %worked, label %report, label %wait
report:
  %done_before = atomicrmw add ptr %done_slot, i64 %mine acq_rel
  %done_now = add i64 %done_before, %mine
  %complete = icmp eq i64 %done_now, %grains
  br i1 %complete, label %advance, label %wait
advance:
  ; Whoever finishes a phase begins the next one at once; nobody is waited for who has nothing to deliver.
  store atomic i64 0, ptr %done_slot monotonic, align 8
  %phase_after = add i64 %phase, 1
  %phase_next = call i64 @settle(ptr %frame, ptr %phases, i64 %phase_after)
  %number_next = add i64 %first_number, %phase_next
  %offset_next = mul i64 %phase_next, {phase.SIZE}
  %entry_next = getelementptr i64, ptr %phases, i64 %offset_next
  %wake_flag = call i64 @slot(ptr %entry_next, i64 {phase.WAKE})
  %wake = icmp ne i64 %wake_flag, 0
  call void @change(ptr %number_slot, i64 %number_next, ptr %pool, i1 %wake)
  br label %enter
wait:
  br i1 %is_first, label %wait_long, label %wait_short
wait_long:
  call void @wait_for_change(ptr %number_slot, i64 %number, ptr %pool)
  br label %enter
wait_short:
  %changed = call i1 @look_for_change(ptr %number_slot, i64 %number, ptr %pool)
  br i1 %changed, label %enter, label %leave
leave:
  ret i64 %number
}}

define i64 @run_pooled(ptr %frame) {{
entry:
  %pool_address = call i64 @slot(ptr %frame, i64 {frame.POOL})
  %epochs = call i64 @slot(ptr %frame, i64 {frame.EPOCHS})
  %phases_address = call i64 @slot(ptr %frame, i64 {frame.PHASES})
  %phases = inttoptr i64 %phases_address to ptr
  %pool = inttoptr i64 %pool_address to ptr
  %number_slot = getelementptr i64, ptr %pool, i64 {pool.PHASE}
  %open_slot = getelementptr i64, ptr %pool, i64 {pool.OPEN}
  %active_slot = getelementptr i64, ptr %pool, i64 {pool.ACTIVE}
  %pool_epoch_slot = getelementptr i64, ptr %pool, i64 {pool.EPOCH}
  %epoch_slot = getelementptr i64, ptr %frame, i64 {frame.EPOCH}
  %first_number_slot = getelementptr i64, ptr %frame, i64 {frame.FIRST_NUMBER}
  %job_slot = getelementptr i64, ptr %pool, i64 {pool.JOB_FRAME}
  %frame_address = ptrtoint ptr %frame to i64
  %number = load atomic i64, ptr %number_slot monotonic, align 8
  %first_number = add i64 %number, 1
  store i64 %first_number, ptr %first_number_slot
  %epoch_before = load i64, ptr %pool_epoch_slot
  %epoch = add i64 %epoch_before, 1
  store i64 %epoch, ptr %epoch_slot
  %epoch_after = add i64 %epoch, %epochs
  store i64 %epoch_after, ptr %pool_epoch_slot
  store i64 %frame_address, ptr %job_slot
  %phase = call i64 @settle(ptr %frame, ptr %phases, i64 0)
  %begin_number = add i64 %first_number, %phase
  %phase_offset = mul i64 %phase, {phase.SIZE}
  %begin_entry = getelementptr i64, ptr %phases, i64 %phase_offset
  store atomic i64 1, ptr %open_slot seq_cst, align 8
  %wake_flag = call i64 @slot(ptr %begin_entry, i64 {phase.WAKE})
  %wake = icmp ne i64 %wake_flag, 0
  call void @change(ptr %number_slot, i64 %begin_number, ptr %pool, i1 %wake)
  %last = call i64 @share(ptr %frame, ptr %pool, i64 0)
  ; Either a worker that comes now sees that the job is closed, or it is seen here and waited for: the frame is the
  ; caller's again. A worker is active only while it works or looks, never while it sleeps.
  store atomic i64 0, ptr %open_slot seq_cst, align 8
  br label %closing
closing:
  %active = load atomic i64, ptr %active_slot seq_cst, align 8
  %idle = icmp eq i64 %active, 0
  br i1 %idle, label %done, label %patience
patience:
  %changed = call i1 @look_for_change(ptr %active_slot, i64 %active, ptr %pool)
  br i1 %changed, label %closing, label %give_way
give_way:
  %yield = call ptr @pool_slot_pointer(ptr %pool, i64 {pool.YIELD})
  %yielded = call i32 %yield()
  br label %closing
done:
  %failed = call i64 @slot(ptr %frame, i64 {frame.FAILED})
  ret i64 %failed
}}

define i64 @stop(ptr %pool) {{
  %open_slot = getelementptr i64, ptr %pool, i64 {pool.OPEN}
  %number_slot = getelementptr i64, ptr %pool, i64 {pool.PHASE}
  store atomic i64 -1, ptr %open_slot seq_cst, align 8
  %number = load atomic i64, ptr %number_slot monotonic, align 8
  %next = add i64 %number, 1
  call void @change(ptr %number_slot, i64 %next, ptr %pool, i1 true)
  ret i64 0
}}

define i64 @work(ptr %pool, i64 %thread) {{
entry:
  %open_slot = getelementptr i64, ptr %pool, i64 {pool.OPEN}
  %number_slot = getelementptr i64, ptr %pool, i64 {pool.PHASE}
  %active_slot = getelementptr i64, ptr %pool, i64 {pool.ACTIVE}
  %job_slot = getelementptr i64, ptr %pool, i64 {pool.JOB_FRAME}
  br label %wait
wait:
  %seen = phi i64 [ 0, %entry ], [ %number, %closed ], [ %last, %share ]
  call void @wait_for_change(ptr %number_slot, i64 %seen, ptr %pool)
  %number = load atomic i64, ptr %number_slot acquire, align 8
  %active_before = atomicrmw add ptr %active_slot, i64 1 seq_cst
  %open = load atomic i64, ptr %open_slot seq_cst, align 8
  %is_open = icmp sgt i64 %open, 0
  br i1 %is_open, label %share, label %closed
share:
  %frame_address = load i64, ptr %job_slot
  %frame = inttoptr i64 %frame_address to ptr
  %last = call i64 @share(ptr %frame, ptr %pool, i64 %thread)
  %active_shared = atomicrmw sub ptr %active_slot, i64 1 seq_cst
  br label %wait
closed:
  %active_closed = atomicrmw sub ptr %active_slot, i64 1 seq_cst
  %stopped = icmp slt i64 %open, 0
  br i1 %stopped, label %done, label %wait
done:
  ret i64 0
}}
"""
