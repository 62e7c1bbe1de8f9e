"""Kernels written as LLVM text by hand, to test the runtime without the compiler and without Numba."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

import llvmlite.binding as llvm

from runtime.loader import target_machine
from runtime.program import Kernel

_SIGNATURE = (
    "define i32 @{name}(ptr %retval, ptr %excinfo, ptr %pointers, ptr %extents, i64 %scratch, i64 %begin, i64 %end)"
)

# y[i] = a[0] * x[i] + extents[0], float32; operands a, x, y; one work item is one element.
AXPB = (
    _SIGNATURE
    + """ {{
entry:
  %a_slot = getelementptr i64, ptr %pointers, i64 0
  %x_slot = getelementptr i64, ptr %pointers, i64 1
  %y_slot = getelementptr i64, ptr %pointers, i64 2
  %a_address = load i64, ptr %a_slot
  %x_address = load i64, ptr %x_slot
  %y_address = load i64, ptr %y_slot
  %a_pointer = inttoptr i64 %a_address to ptr
  %x = inttoptr i64 %x_address to ptr
  %y = inttoptr i64 %y_address to ptr
  %a = load float, ptr %a_pointer
  %b_integer = load i64, ptr %extents
  %b = sitofp i64 %b_integer to float
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %x_i = getelementptr float, ptr %x, i64 %i
  %y_i = getelementptr float, ptr %y, i64 %i
  %value = load float, ptr %x_i
  %product = fmul float %a, %value
  %sum = fadd float %product, %b
  store float %sum, ptr %y_i
  %next = add i64 %i, 1
  br label %loop
done:
  ret i32 0
}}
"""
)

# y[i] = sum of x[i, 0:columns], float32; operands x, y; extents columns; the running sum lives in scratch.
ROW_SUM = (
    _SIGNATURE
    + """ {{
entry:
  %y_slot = getelementptr i64, ptr %pointers, i64 1
  %x_address = load i64, ptr %pointers
  %y_address = load i64, ptr %y_slot
  %x = inttoptr i64 %x_address to ptr
  %y = inttoptr i64 %y_address to ptr
  %columns = load i64, ptr %extents
  %sum = inttoptr i64 %scratch to ptr
  br label %rows
rows:
  %i = phi i64 [ %begin, %entry ], [ %next_row, %row_done ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %row, label %done
row:
  store volatile float 0.0, ptr %sum
  %start = mul i64 %i, %columns
  br label %elements
elements:
  %j = phi i64 [ 0, %row ], [ %next, %element ]
  %inside = icmp slt i64 %j, %columns
  br i1 %inside, label %element, label %row_done
element:
  %index = add i64 %start, %j
  %x_ij = getelementptr float, ptr %x, i64 %index
  %value = load float, ptr %x_ij
  %old = load volatile float, ptr %sum
  %new = fadd float %old, %value
  store volatile float %new, ptr %sum
  %next = add i64 %j, 1
  br label %elements
row_done:
  %total = load volatile float, ptr %sum
  %y_i = getelementptr float, ptr %y, i64 %i
  store float %total, ptr %y_i
  %next_row = add i64 %i, 1
  br label %rows
done:
  ret i32 0
}}
"""
)

# Returns extents[0] as its status when one of its items is item extents[1]; touches nothing.
FAIL = (
    _SIGNATURE
    + """ {{
  %status_wide = load i64, ptr %extents
  %item_slot = getelementptr i64, ptr %extents, i64 1
  %item = load i64, ptr %item_slot
  %after = icmp sge i64 %item, %begin
  %before = icmp slt i64 %item, %end
  %mine = and i1 %after, %before
  %status = trunc i64 %status_wide to i32
  %result = select i1 %mine, i32 %status, i32 0
  ret i32 %result
}}
"""
)

# w[i] += 1 for int64 w: an update in place; operand w.
INCREMENT = (
    _SIGNATURE
    + """ {{
entry:
  %w_address = load i64, ptr %pointers
  %w = inttoptr i64 %w_address to ptr
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %w_i = getelementptr i64, ptr %w, i64 %i
  %old = load i64, ptr %w_i
  %new = add i64 %old, 1
  store i64 %new, ptr %w_i
  %next = add i64 %i, 1
  br label %loop
done:
  ret i32 0
}}
"""
)

# Records the range it was given: y[begin] = end for int64 y; operand y.
RECORD_RANGE = (
    _SIGNATURE
    + """ {{
  %y_address = load i64, ptr %pointers
  %y = inttoptr i64 %y_address to ptr
  %y_begin = getelementptr i64, ptr %y, i64 %begin
  store i64 %end, ptr %y_begin
  ret i32 0
}}
"""
)

# y[i] = x[extents[2]] + 1 for int64 x and y; item extents[0] first counts to extents[1], in memory, to be late.
LATE_COPY = (
    _SIGNATURE
    + """ {{
entry:
  %counter = alloca i64
  %x_address = load i64, ptr %pointers
  %y_slot = getelementptr i64, ptr %pointers, i64 1
  %y_address = load i64, ptr %y_slot
  %x = inttoptr i64 %x_address to ptr
  %y = inttoptr i64 %y_address to ptr
  %late = load i64, ptr %extents
  %limit_slot = getelementptr i64, ptr %extents, i64 1
  %limit = load i64, ptr %limit_slot
  %source_slot = getelementptr i64, ptr %extents, i64 2
  %source = load i64, ptr %source_slot
  br label %items
items:
  %i = phi i64 [ %begin, %entry ], [ %next, %copy ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %item, label %done
item:
  store volatile i64 0, ptr %counter
  %is_late = icmp eq i64 %i, %late
  br i1 %is_late, label %count, label %copy
count:
  %old = load volatile i64, ptr %counter
  %new = add i64 %old, 1
  store volatile i64 %new, ptr %counter
  %counting = icmp slt i64 %new, %limit
  br i1 %counting, label %count, label %copy
copy:
  %x_source = getelementptr i64, ptr %x, i64 %source
  %value = load i64, ptr %x_source
  %result = add i64 %value, 1
  %y_i = getelementptr i64, ptr %y, i64 %i
  store i64 %result, ptr %y_i
  %next = add i64 %i, 1
  br label %items
done:
  ret i32 0
}}
"""
)

# Of each call's items y is 0, int64, but for the first: 1, or 2 where the call goes on from the thread's last one.
MARKS = (
    _SIGNATURE
    + """ {{
entry:
  %y_address = load i64, ptr %pointers
  %y = inttoptr i64 %y_address to ptr
  %continued = lshr i64 %begin, 62
  %first = and i64 %begin, 4611686018427387903
  %mark = add i64 %continued, 1
  br label %loop
loop:
  %i = phi i64 [ %first, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %is_first = icmp eq i64 %i, %first
  %value = select i1 %is_first, i64 %mark, i64 0
  %y_i = getelementptr i64, ptr %y, i64 %i
  store i64 %value, ptr %y_i
  %next = add i64 %i, 1
  br label %loop
done:
  ret i32 0
}}
"""
)

# Calls a function that no process has.
UNRESOLVED = (
    "declare i32 @graphcore_no_such_function()\n"
    + _SIGNATURE
    + """ {{
  %result = call i32 @graphcore_no_such_function()
  ret i32 %result
}}
"""
)


@cache
def object_code(text: str, name: str) -> bytes:
    machine = target_machine(2)
    module = llvm.parse_assembly(text.format(name=name))
    module.triple = llvm.get_process_triple()
    module.verify()
    code: bytes = machine.emit_object(module)
    return code


def kernel(text: str, name: str) -> Kernel:
    code = object_code(text, name)
    return Kernel(name, sha256(code).hexdigest(), name, code, text)
