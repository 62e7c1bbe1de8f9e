"""Several runs of one frame in one native call: the last part of the text of `runtime.native_code`.

Training and evaluation run the same program over stretches of the same arrays. Between two of them nothing changes
but addresses, so Python need not be entered: for a program of 100 microseconds, that is most of the time it costs.
"""

from __future__ import annotations

__all__ = ["STEPS"]

STEPS = """
define i64 @run_steps(ptr %frame, i64 %steps, ptr %advances, i64 %count) {{
entry:
  %table_address = call i64 @slot(ptr %frame, i64 {frame.ADDRESSES})
  %pool_address = call i64 @slot(ptr %frame, i64 {frame.POOL})
  %notes_address = call i64 @slot(ptr %frame, i64 {frame.NOTES})
  %table = inttoptr i64 %table_address to ptr
  %pooled = icmp ne i64 %pool_address, 0
  %noting = icmp ne i64 %notes_address, 0
  br label %step
step:
  %step_number = phi i64 [ 0, %entry ], [ %step_next, %moved ]
  br i1 %noting, label %read_clock, label %start
read_clock:
  %clock = call i64 {ticks}()
  br label %start
start:
  %from = phi i64 [ 0, %step ], [ %clock, %read_clock ]
  br i1 %pooled, label %together, label %alone
together:
  %failed_together = call i64 @run_pooled(ptr %frame)
  br label %finished
alone:
  %failed_alone = call i64 @run(ptr %frame)
  br label %finished
finished:
  ; A run ends when no worker is active in it any more, so none of them reads the addresses that change now.
  %failed = phi i64 [ %failed_together, %together ], [ %failed_alone, %alone ]
  br i1 %noting, label %note_step, label %noted
note_step:
  %notes = inttoptr i64 %notes_address to ptr
  %first_block_address = call i64 @slot(ptr %notes, i64 0)
  %first_block = inttoptr i64 %first_block_address to ptr
  call void @note(ptr %first_block, i64 {whole_step}, i64 %step_number, i64 0, i64 %from)
  br label %noted
noted:
  %succeeded = icmp slt i64 %failed, 0
  br i1 %succeeded, label %move, label %done
move:
  %position = phi i64 [ 0, %noted ], [ %position_next, %move_one ]
  %more_moves = icmp slt i64 %position, %count
  br i1 %more_moves, label %move_one, label %moved
move_one:
  %pair = shl i64 %position, 1
  %buffer_slot = getelementptr i64, ptr %advances, i64 %pair
  %bytes_slot = getelementptr i64, ptr %buffer_slot, i64 1
  %buffer = load i64, ptr %buffer_slot
  %bytes = load i64, ptr %bytes_slot
  %address_slot = getelementptr i64, ptr %table, i64 %buffer
  %address = load i64, ptr %address_slot
  %address_next = add i64 %address, %bytes
  store i64 %address_next, ptr %address_slot
  %position_next = add i64 %position, 1
  br label %move
moved:
  %step_next = add i64 %step_number, 1
  %more_steps = icmp slt i64 %step_next, %steps
  br i1 %more_steps, label %step, label %done
done:
  ret i64 %failed
}}
"""
