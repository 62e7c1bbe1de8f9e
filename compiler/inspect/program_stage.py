"""The program: buffers, instructions and loops, as the runtime gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.inspect.graph_stage import dim_data
from compiler.inspect.sheet import Sheet
from compiler.inspect.stage import Stage

if TYPE_CHECKING:
    from compiler.driver import Compiled
    from runtime.program import Program

__all__ = ["ProgramStage"]


class ProgramStage(Stage):
    """The list of instructions that the runtime works off."""

    name = "program"

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled

    @property
    def program(self) -> Program:
        """The program itself."""
        return self.compiled.program

    def __repr__(self) -> str:
        return f"<program: {self.program!r}>"

    def __str__(self) -> str:
        return self.program.describe()

    def to_dict(self) -> dict[str, Any]:
        """See `Stage.to_dict`; machine code and constants are counted, not given."""
        program = self.program
        return {
            "stage": self.name,
            "name": program.name,
            "target": program.target,
            "symbols": list(program.symbols),
            "inputs": list(program.inputs),
            "variables": list(program.variables),
            "outputs": list(program.outputs),
            "prepared": program.prepared,
            "code_bytes": sum(len(kernel.object_code) for kernel in program.kernels),
            "constant_bytes": sum(constant.nbytes for constant in program.constants),
            "buffers": [
                {
                    "name": buffer.name,
                    "dtype": buffer.dtype,
                    "shape": [dim_data(dim) for dim in buffer.shape],
                    "space": buffer.space,
                    "place": buffer.place,
                    "start": dim_data(buffer.start),
                }
                for buffer in program.buffers
            ],
            "instructions": [
                {
                    "label": call.label,
                    "kernel": call.kernel,
                    "operands": list(call.operands),
                    "reads": call.reads,
                    "extents": [dim_data(extent) for extent in call.extents],
                    "work": dim_data(call.work),
                    "scratch": dim_data(call.scratch),
                    "fills": call.fills,
                    "limit": call.limit,
                    "steps": call.steps,
                }
                for call in program.instructions
            ],
            "loops": [
                {
                    "first": loop.first,
                    "end": loop.end,
                    "count": dim_data(loop.count),
                    "reverse": loop.reverse,
                    "limit": loop.limit,
                    "beyond": loop.beyond,
                    "windows": [
                        {"buffer": w.buffer, "source": w.source, "shift": w.shift, "period": w.period}
                        for w in loop.windows
                    ],
                }
                for loop in program.loops
            ],
        }

    def sheet(self) -> Sheet:
        """A row for each instruction."""
        program = self.program
        loop_of = {i: n for n, loop in enumerate(program.loops) for i in range(loop.first, loop.end)}
        rows = []
        for position, call in enumerate(program.instructions):
            when = "once" if position < program.prepared else ""
            if position in loop_of:
                when = f"loop {loop_of[position]}"
            reads = ", ".join(f"%{operand}" for operand in call.operands[: call.reads])
            writes = ", ".join(f"%{operand}" for operand in call.operands[call.reads :])
            rows.append((
                str(position), call.label, str(call.kernel), reads, writes, str(call.work), str(call.scratch), when,
            ))  # fmt: skip
        notes = [
            f"Loop {number}: {loop.count} times{' in reverse' if loop.reverse else ''}, instructions {loop.first} to "
            f"{loop.end - 1}"
            for number, loop in enumerate(program.loops)
        ]
        if program.prepared:
            notes.insert(0, "Once: not again while the variables that it reads are unchanged.")
        title = f"program {program.name}: {len(rows)} instructions, {len(program.buffers)} buffers"
        columns = ("#", "Instruction", "Kernel", "Reads", "Writes", "Items", "Scratch", "Runs")
        return Sheet(title, columns, tuple(rows), frozenset(("#", "Kernel")), tuple(notes))
