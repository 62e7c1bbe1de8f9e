"""An optimized graph -> a program: buffers, kernels with their object code, and the instructions that call them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from compiler.assembly_loops import emit_loop
from compiler.bodies import loop_body
from compiler.ir import Fusion, Graph, Node, Value
from compiler.ops.fused import FusedGroup, FusedSteps
from compiler.ops.scan import Scan
from compiler.ops.sources import Constant
from compiler.passes.context import PassContext
from compiler.passes.plan_memory import MemoryPlan, Slot
from compiler.preparation import prepared_nodes
from compiler.storage import is_kernel, offset_of, root_of
from compiler.target import Target
from compiler.traffic import least_bytes
from compiler.types import TensorType, symbols_of_type
from runtime.cache import default_cache
from runtime.dimensions import Dim
from runtime.logs import log
from runtime.loops import Loop
from runtime.program import Buffer, Instruction, Kernel, Program

if TYPE_CHECKING:
    from compiler.codegen.objects import CompiledKernel, KernelQueue


@dataclasses.dataclass(slots=True)
class Assembly:
    """Buffers, kernels and instructions while they are collected."""

    graph: Graph
    memory: MemoryPlan
    target: Target
    buffers: list[Buffer] = dataclasses.field(default_factory=list)
    buffer_of: dict[Value, int] = dataclasses.field(default_factory=dict)
    constants: list[object] = dataclasses.field(default_factory=list)
    kernels: list[Kernel] = dataclasses.field(default_factory=list)
    kernel_of: dict[str, int] = dataclasses.field(default_factory=dict)
    instructions: list[Instruction] = dataclasses.field(default_factory=list)
    loops: list[Loop] = dataclasses.field(default_factory=list)
    rows_of: dict[Value, int] = dataclasses.field(default_factory=dict)  # both rows of states that are not kept
    views: dict[tuple[int, TensorType, Dim], int] = dataclasses.field(default_factory=dict)
    queue: KernelQueue | None = None
    compiling: dict[int, Callable[[], CompiledKernel]] = dataclasses.field(default_factory=dict)
    leave: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    def place(self, value: Value, buffer: Buffer) -> int:
        """Add a buffer for a value."""
        self.buffers.append(buffer)
        self.buffer_of[value] = len(self.buffers) - 1
        return len(self.buffers) - 1

    def index_of(self, value: Value) -> int:
        """The buffer that a value is, or is a part of the memory of."""
        root = self.buffer_of[root_of(value)]
        offset = offset_of(value)
        return root if offset == 0 else self.view(root, value.type, offset)

    def view(self, source: int, type_: TensorType, offset: Dim) -> int:
        """The buffer of this type that begins `offset` bytes further on than another one of the arena.

        Raises:
            ValueError: if the other one is not in the arena.
        """
        key = source, type_, offset
        if key not in self.views:
            whole = self.buffers[source]
            if whole.space != "arena":
                raise ValueError(f"only part of the arena can be seen as {type_}, not of {whole.space} {whole.name!r}")
            part = Buffer(f"{whole.name}.{len(self.views)}", type_.dtype, type_.shape, "arena", whole.place)
            self.buffers.append(dataclasses.replace(part, start=whole.start + offset))
            self.views[key] = len(self.buffers) - 1
        return self.views[key]


def assemble(graph: Graph, context: PassContext, emit: Callable[[Assembly, Node], None] | None = None) -> Program:
    """The program of an optimized graph. `emit` adds the kernel and the instruction of one fused node; the CPU's
    is the default."""
    if context.memory is None:
        raise ValueError("assemble needs a graph that went through plan_memory")
    a = Assembly(graph, context.memory, context.target)
    inputs = tuple(
        a.place(e.value, Buffer(e.name, e.value.type.dtype, e.value.type.shape, "input")) for e in graph.inputs
    )
    variables = tuple(
        a.place(e.value, Buffer(e.name, e.value.type.dtype, e.value.type.shape, "variable"))
        for e in graph.variables
    )
    outputs = tuple(
        a.place(root_of(value), Buffer(name, value.type.dtype, value.type.shape, "output"))
        for name, value in graph.outputs
    )
    for name, value in graph.updates:
        entry = next(e for e in graph.variables if e.name == name)
        a.buffer_of[root_of(value)] = a.buffer_of[entry.value]
    _place_computed(a)
    with a.leave:
        for node in graph.nodes:
            if node.op.fusion is Fusion.LOOP:
                emit_loop(a, node, emit or _emit_instruction)
            elif is_kernel(node):
                (emit or _emit_instruction)(a, node)
        _finish_kernels(a)
    symbols = sorted(
        frozenset().union(frozenset(), *(symbols_of_type(e.value.type) for e in graph.parameters))
    )
    return Program(
        name=graph.name,
        symbols=tuple(symbols),
        buffers=tuple(a.buffers),
        inputs=inputs,
        variables=variables,
        outputs=outputs,
        instructions=tuple(a.instructions),
        kernels=tuple(a.kernels),
        constants=tuple(a.constants),  # type: ignore[arg-type]
        target=str(context.target),
        prepared=sum(map(is_kernel, prepared_nodes(graph))),
        loops=tuple(a.loops),
        fixed=tuple((name, context.fixed[name]) for name in symbols if name in context.fixed),
    )


def _place_computed(a: Assembly) -> None:
    graphs = [a.graph, *(body for node in a.graph.nodes if (body := loop_body(node)) is not None)]
    for node in (node for graph in graphs for node in graph.nodes):
        if isinstance(node.op, Constant):
            array = node.op.array.array
            number = len(a.constants)
            a.place(node.outputs[0], Buffer(f"constant{number}", array.dtype.name, array.shape, "constant", number))
            a.constants.append(array)
    for i, slot in enumerate(a.memory.slots):
        type_, maker = slot.value.type, slot.value.op
        if isinstance(maker, Scan) and slot.value.index < maker.states:
            _place_state(a, slot, maker, f"value{i}")
        else:
            a.place(slot.value, Buffer(f"value{i}", type_.dtype, type_.shape, "arena", slot.block))


def _place_state(a: Assembly, slot: Slot, scan: Scan, name: str) -> None:
    """The rows of a loop's state; one that is not kept is, in the end, one of two that take turns."""
    value, type_ = slot.value, slot.value.type
    if scan.kept[value.index]:
        a.place(value, Buffer(name, type_.dtype, type_.shape, "arena", slot.block))
        return
    rows = type_.with_shape(2, *type_.shape)
    a.rows_of[value] = a.place(value, Buffer(name, type_.dtype, rows.shape, "arena", slot.block))
    a.buffer_of[value] = a.view(a.rows_of[value], type_, scan.final_row % 2 * type_.size_in_bytes)


def _emit_instruction(a: Assembly, node: Node) -> None:
    # Numba is imported here, when a kernel must be printed, and by `compile_kernel`: a warm start needs neither.
    from compiler.codegen.kernels import cpu_kernel

    group, operands = group_of(node), operands_of(a, node)
    printed = cpu_kernel(group.body, a.target, shared_memory(a, operands))
    label = label_of(node)
    read, written = least_bytes(group.body)
    kernel = _kernel_index(a, label, printed.source, printed.namespace, printed.identity)
    a.instructions.append(
        Instruction(
            kernel=kernel,
            operands=operands,
            extents=printed.extents,
            work=printed.work,
            scratch=printed.scratch,
            label=label,
            reads=len(group.body.inputs),
            fills=printed.fills,
            keeps=printed.keeps,
            limit=a.index_of(node.inputs[-1]) if isinstance(group, FusedSteps) else -1,
            steps=group.steps if isinstance(group, FusedSteps) else "",
            multiply_adds=group.body.multiply_adds,
            bytes_read=read,
            bytes_written=written,
        )
    )


def group_of(node: Node) -> FusedGroup:
    """What a node computes, as a group; `TypeError` for a node that is no kernel yet."""
    if not isinstance(node.op, FusedGroup):
        raise TypeError(f"'{node.op.name}' is no kernel: run the pass 'fuse' first.")
    return node.op


def operands_of(a: Assembly, node: Node) -> tuple[int, ...]:
    """The buffers that a fused node reads, then those that it writes."""
    reads = node.inputs[: len(group_of(node).body.inputs)]
    return tuple(a.index_of(value) for value in (*reads, *node.outputs))


def shared_memory(a: Assembly, operands: tuple[int, ...]) -> dict[int, int]:
    """Positions of operands that are the memory of an earlier operand, and which one."""
    first: dict[object, int] = {}
    shared: dict[int, int] = {}
    for position, index in enumerate(operands):
        buffer = a.buffers[index]
        place: object = (buffer.place, buffer.start) if buffer.space == "arena" else index
        if place in first:
            shared[position] = first[place]
        else:
            first[place] = position
    return shared


def label_of(node: Node) -> str:
    """A short name of a fused node for tables: the layer and the ops, most telling first."""
    if not isinstance(node.op, FusedGroup):
        return node.op.name
    names = list(dict.fromkeys(inner.op.name for inner in node.op.body.nodes if inner.op.name not in UNTELLING))
    names = names or list(dict.fromkeys(inner.op.name for inner in node.op.body.nodes)) or ["copy"]
    ops = "+".join(names[:4]) + ("+…" if len(names) > 4 else "")
    return f"{node.layer}: {ops}" if node.layer else ops


UNTELLING = frozenset({"broadcast", "full", "cast", "stop_gradient"})


def _kernel_index(a: Assembly, label: str, source: str, namespace: Mapping[str, object], identity: str) -> int:
    """The number of a kernel. One that is not in the cache is begun; `_finish_kernels` fills in its object code."""
    from compiler.codegen.objects import KernelQueue, kernel_key

    key = kernel_key(identity + "\n" + source, a.target)
    if key in a.kernel_of:
        return a.kernel_of[key]
    index = a.kernel_of[key] = len(a.kernels)
    symbol, object_code = default_cache().get(key) or ("", b"")
    a.kernels.append(Kernel(label, key, symbol, object_code, source))
    if symbol:
        log("kernels", f"{label}: {len(object_code)} bytes from the cache")
    else:
        if a.queue is None:
            a.queue = a.leave.enter_context(KernelQueue())
        a.compiling[index] = a.queue.start(source, namespace)
    return index


def _finish_kernels(a: Assembly) -> None:
    for index, result in a.compiling.items():
        compiled = result()
        kernel = a.kernels[index]
        a.kernels[index] = dataclasses.replace(kernel, symbol=compiled.symbol, object_code=compiled.object_code)
        log("kernels", f"{kernel.name}: compiled to {len(compiled.object_code)} bytes")
        default_cache().put(kernel.key, compiled.symbol, compiled.object_code)
