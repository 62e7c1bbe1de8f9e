"""Which node of the optimized graph each instruction of a program comes from."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from compiler.assembly import Assembly, assemble, group_of, label_of, operands_of, shared_memory
from compiler.inspect.operations import element_operations, ops_of
from compiler.ir import Graph, Node
from runtime.dimensions import Dim
from runtime.loops import Loop
from runtime.program import Instruction, Kernel, Program

if TYPE_CHECKING:
    from compiler.driver import Compiled

__all__ = ["KernelCall", "kernel_calls"]


class KernelCall:
    """One instruction of a program and the node that it computes.

    Attributes:
        position: the instruction's number.
        instruction: what the program says of it.
        node: the fused node; in a loop that of the loop's body, or a copy that begins or ends a loop.
        loop: the loop that runs the instruction once for each step, or None.
        prepared: whether it runs once for many runs of the program.
        shared: operands that are the memory of an earlier operand, and which.
    """

    def __init__(
        self, program: Program, position: int, node: Node, shared: Mapping[int, int], loop: Loop | None
    ) -> None:
        self.position = position
        self.instruction = program.instructions[position]
        self.node = node
        self.loop = loop
        self.prepared = position < program.prepared
        self.shared = shared

    def __repr__(self) -> str:
        return f"<KernelCall {self.position}: {self.instruction.label}>"

    @property
    def label(self) -> str:
        """The layer and the most telling ops."""
        return self.instruction.label

    @property
    def layer(self) -> str:
        """Path of the layer that the node comes from; empty for none."""
        return self.node.layer

    @property
    def body(self) -> Graph:
        """What the kernel computes."""
        return group_of(self.node).body

    @property
    def ops(self) -> tuple[str, ...]:
        """The names of the ops in it."""
        return ops_of(self.body)

    @property
    def repeats(self) -> Dim:
        """How often a run of the program makes the call: the steps of its loop, else once. A limit makes it less."""
        return 1 if self.loop is None else self.loop.count

    @property
    def flops(self) -> Dim:
        """Floating-point operations of one call, two for each multiply-add; see `contraction_flops`."""
        return 2 * self.instruction.multiply_adds

    @functools.cached_property
    def element_operations(self) -> Dim:
        """Those of one call beside the contraction; see `compiler.inspect.operations.element_operations`."""
        return element_operations(self.body)

    @property
    def least_bytes(self) -> tuple[Dim, Dim]:
        """Bytes that one call must at least read and write; see `compiler.traffic.least_bytes`."""
        return self.instruction.bytes_read, self.instruction.bytes_written


def kernel_calls(compiled: Compiled) -> tuple[KernelCall, ...]:
    """The instructions of a program in order, each with its node.

    The optimized graph is assembled once more for it, without printing or compiling a kernel.

    Raises:
        RuntimeError: if the program's instructions are not those of the graph.
    """
    found: list[tuple[Node, Mapping[int, int]]] = []

    def note(a: Assembly, node: Node) -> None:
        if not a.kernels:
            a.kernels.append(Kernel("", "", "", b""))
        operands = operands_of(a, node)
        found.append((node, shared_memory(a, operands)))
        a.instructions.append(Instruction(0, operands, label=label_of(node), reads=len(group_of(node).body.inputs)))

    assemble(compiled.graph, compiled.context, note)
    program = compiled.program
    labels = [label_of(node) for node, _ in found]
    if labels != [instruction.label for instruction in program.instructions]:
        raise RuntimeError(f"{program!r} does not have the instructions of its graph: {', '.join(labels)}")
    loop_of = {position: loop for loop in program.loops for position in range(loop.first, loop.end)}
    return tuple(
        KernelCall(program, position, node, shared, loop_of.get(position))
        for position, (node, shared) in enumerate(found)
    )
