"""Stretches of instructions, some of them steps of a loop: a part of the text of `runtime.native_code`.

A program is run as a list of entries, each a stretch of instructions. Every step of a loop has entries of its own, and
the first of a step says where its windows lie: buffers that are another part of a larger one at each step. Whether a
step runs may depend on a number that the program has computed by then.
"""

from __future__ import annotations

__all__ = ["LOOPS"]

LOOPS = """
; The first of the entries from `index` on that is to run; the windows of its step and the sizes of limited
; instructions are set. To be called by one thread, while no other works.
define internal i64 @settle(ptr %frame, ptr %entries, i64 %index) {{
entry:
  %table_address = call i64 @slot(ptr %frame, i64 {frame.ADDRESSES})
  %table = inttoptr i64 %table_address to ptr
  br label %look
look:
  %at = phi i64 [ %index, %entry ], [ %at_next, %skip ]
  %offset = mul i64 %at, {phase.SIZE}
  %here = getelementptr i64, ptr %entries, i64 %offset
  %limit = call i64 @slot(ptr %here, i64 {phase.LIMIT})
  %limited = icmp ne i64 %limit, 0
  br i1 %limited, label %check, label %found
check:
  %limit_buffer = sub i64 %limit, 1
  %limit_address = call i64 @slot(ptr %table, i64 %limit_buffer)
  %limit_pointer = inttoptr i64 %limit_address to ptr
  %steps_narrow = load i32, ptr %limit_pointer
  %steps = sext i32 %steps_narrow to i64
  %step = call i64 @slot(ptr %here, i64 {phase.STEP})
  %within = icmp slt i64 %step, %steps
  %beyond_flag = call i64 @slot(ptr %here, i64 {phase.BEYOND})
  %beyond = icmp ne i64 %beyond_flag, 0
  %runs = xor i1 %within, %beyond
  br i1 %runs, label %found, label %skip
skip:
  %at_next = add i64 %at, 1
  br label %look
found:
  %moves_address = call i64 @slot(ptr %here, i64 {phase.MOVES})
  %count = call i64 @slot(ptr %here, i64 {phase.MOVE_COUNT})
  %moves = inttoptr i64 %moves_address to ptr
  br label %move
move:
  %position = phi i64 [ 0, %found ], [ %position_next, %move_one ]
  %more = icmp slt i64 %position, %count
  br i1 %more, label %move_one, label %moved
move_one:
  %place = mul i64 %position, 3
  %row = getelementptr i64, ptr %moves, i64 %place
  %window = call i64 @slot(ptr %row, i64 0)
  %source = call i64 @slot(ptr %row, i64 1)
  %bytes = call i64 @slot(ptr %row, i64 2)
  %base = call i64 @slot(ptr %table, i64 %source)
  %address = add i64 %base, %bytes
  %window_slot = getelementptr i64, ptr %table, i64 %window
  store i64 %address, ptr %window_slot
  %position_next = add i64 %position, 1
  br label %move
moved:
  ; Sizes of instructions that work on the steps below a limit only.
  %patches_address = call i64 @slot(ptr %here, i64 {phase.PATCHES})
  %patch_count = call i64 @slot(ptr %here, i64 {phase.PATCH_COUNT})
  %patches = inttoptr i64 %patches_address to ptr
  br label %patch
patch:
  %number = phi i64 [ 0, %moved ], [ %number_next, %patch_one ]
  %more_patches = icmp slt i64 %number, %patch_count
  br i1 %more_patches, label %patch_one, label %done
patch_one:
  %patch_place = mul i64 %number, 4
  %patch_row = getelementptr i64, ptr %patches, i64 %patch_place
  %target_address = call i64 @slot(ptr %patch_row, i64 0)
  %sizes_address = call i64 @slot(ptr %patch_row, i64 1)
  %limiting = call i64 @slot(ptr %patch_row, i64 2)
  %most = call i64 @slot(ptr %patch_row, i64 3)
  %limiting_address = call i64 @slot(ptr %table, i64 %limiting)
  %limiting_pointer = inttoptr i64 %limiting_address to ptr
  %given_narrow = load i32, ptr %limiting_pointer
  %given = sext i32 %given_narrow to i64
  %is_negative = icmp slt i64 %given, 0
  %not_negative = select i1 %is_negative, i64 0, i64 %given
  %is_over = icmp sgt i64 %not_negative, %most
  %clamped = select i1 %is_over, i64 %most, i64 %not_negative
  %sizes = inttoptr i64 %sizes_address to ptr
  %size = call i64 @slot(ptr %sizes, i64 %clamped)
  %target = inttoptr i64 %target_address to ptr
  store i64 %size, ptr %target
  %number_next = add i64 %number, 1
  br label %patch
done:
  ret i64 %at
}}

define i64 @run(ptr %frame) {{
entry:
  %entries_address = call i64 @slot(ptr %frame, i64 {frame.STRETCHES})
  %entry_count = call i64 @slot(ptr %frame, i64 {frame.STRETCH_COUNT})
  %scratch = call i64 @slot(ptr %frame, i64 {frame.SCRATCH})
  %most_operands = call i64 @slot(ptr %frame, i64 {frame.MOST_OPERANDS})
  %entries = inttoptr i64 %entries_address to ptr
  %pointers = alloca i64, i64 %most_operands, align 64
  %results = alloca i64, i64 3, align 16
  call void @attach_notes(ptr %frame, i64 0, ptr %results)
  br label %stretch
stretch:
  %wanted = phi i64 [ 0, %entry ], [ %at_next, %stretch_done ]
  %at = call i64 @settle(ptr %frame, ptr %entries, i64 %wanted)
  %has_stretch = icmp slt i64 %at, %entry_count
  br i1 %has_stretch, label %begin, label %done
begin:
  %offset = mul i64 %at, {phase.SIZE}
  %here = getelementptr i64, ptr %entries, i64 %offset
  %first_address = call i64 @slot(ptr %here, i64 {phase.RECORD})
  %first_record = inttoptr i64 %first_address to ptr
  %first = call i64 @slot(ptr %here, i64 {phase.FIRST})
  %end = call i64 @slot(ptr %here, i64 {phase.END})
  br label %head
head:
  %index = phi i64 [ %first, %begin ], [ %index_next, %body ]
  %record = phi ptr [ %first_record, %begin ], [ %record_next, %body ]
  %more = icmp slt i64 %index, %end
  br i1 %more, label %body, label %stretch_done
body:
  %work = call i64 @slot(ptr %record, i64 {record.WORK})
  call void @execute(ptr %frame, ptr %record, i64 %index, i64 0, i64 %work, i64 -1,
                     ptr %pointers, ptr %results, i64 %scratch)
  %record_next = call ptr @after(ptr %record)
  %index_next = add i64 %index, 1
  br label %head
stretch_done:
  %at_next = add i64 %at, 1
  br label %stretch
done:
  %failed = call i64 @slot(ptr %frame, i64 {frame.FAILED})
  ret i64 %failed
}}

define i64 @ticks() {{
  %now = call i64 {ticks}()
  ret i64 %now
}}
"""
