"""Graph in, executable out: the pipeline, kernels, their object code, and the program that calls them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from compiler.ir import Graph, Node, Value
from compiler.ops.fused import Fused
from compiler.ops.sources import Constant
from compiler.passes.context import PassContext, Remark
from compiler.passes.plan_memory import MemoryPlan
from compiler.pipeline import Hook, nothing, run_pipeline
from compiler.preparation import prepared_nodes
from compiler.storage import is_kernel, root_of
from compiler.target import Target, host_target
from compiler.text import to_text
from compiler.types import symbols_of_type
from compiler.version import source_version
from runtime.cache import default_cache
from runtime.dimensions import Dim
from runtime.program import Buffer, Instruction, Kernel, Program, ProgramError

if TYPE_CHECKING:
    from compiler.codegen.objects import CompiledKernel, KernelQueue
    from runtime.executor import Executable

EVERY_SIZE: Mapping[str, Dim] = {}
PROGRAM_ENTRY = "program"


class Compiled:
    """A compiled graph. What the passes did is recomputed when it is asked for after a warm start."""

    def __init__(
        self, traced: Graph, target: Target, program: Program, bindings: dict[str, Dim], winograd: bool = True
    ) -> None:
        self.traced = traced
        self.bindings = bindings
        self.target = target
        self.program = program
        self.winograd = winograd

    @functools.cached_property
    def executable(self) -> Executable:
        """The loaded program."""
        from runtime.executor import Executable  # here, so that describing a model does not load LLVM

        return Executable(self.program)

    @functools.cached_property
    def _optimized(self) -> tuple[Graph, PassContext]:
        context = PassContext(self.target, bindings=self.bindings, winograd=self.winograd)
        return run_pipeline(self.traced, context), context

    @property
    def graph(self) -> Graph:
        """The graph after all passes: fused kernels, aliases, constants."""
        return self._optimized[0]

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What the passes had to say, e.g. why two nodes are not one kernel."""
        return tuple(self._optimized[1].remarks)

    @property
    def memory(self) -> MemoryPlan:
        """The memory plan."""
        plan = self._optimized[1].memory
        if plan is None:
            raise RuntimeError("the pipeline ended without a memory plan")
        return plan

    def __repr__(self) -> str:
        return f"Compiled({self.program!r})"


def compile_graph(
    graph: Graph,
    *,
    target: Target | None = None,
    bindings: Mapping[str, Dim] | None = None,
    winograd: bool = True,
    before: Hook = nothing,
    after: Hook = nothing,
) -> Compiled:
    """Compile a graph for the CPU this process runs on.

    One program serves every size of the graph's symbols; `bindings` fixes some of them instead.
    `winograd`: whether convolutions may take Winograd's form where that is faster, with a little more rounding.

    A graph compiled before on this machine is loaded from the cache, which neither runs the passes nor imports
    Numba; hooks see the passes only when they run.

    Raises:
        KernelCompileError: naming the kernel, if an op has no lowering for the target.
    """
    target = target or host_target()
    sizes = dict(bindings or {})
    key = program_key(graph, target, sizes, winograd)
    cache = default_cache()
    stored = cache.get(key)
    if stored is not None:
        try:
            return Compiled(graph, target, Program.from_bytes(stored[1]), sizes, winograd)
        except ProgramError:
            pass  # a damaged entry is a miss
    context = PassContext(target, bindings=sizes, winograd=winograd)
    optimized = run_pipeline(graph, context, before=before, after=after)
    program = assemble(optimized, context)
    cache.put(key, PROGRAM_ENTRY, program.to_bytes())
    compiled = Compiled(graph, target, program, sizes, winograd)
    compiled.__dict__["_optimized"] = (optimized, context)
    return compiled


def program_key(
    graph: Graph, target: Target, bindings: Mapping[str, Dim] = EVERY_SIZE, winograd: bool = True
) -> str:
    """Content address of a program: the graph, its fixed sizes, the target, the options, and this compiler."""
    fixed = ",".join(f"{name}={dim}" for name, dim in sorted(bindings.items()))
    options = f"winograd={winograd}"
    version = source_version("compiler", "runtime")
    parts = (version, str(target), target.features, options, fixed, to_text(graph, sources=False))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


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
    queue: KernelQueue | None = None
    compiling: dict[int, Callable[[], CompiledKernel]] = dataclasses.field(default_factory=dict)
    leave: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    def place(self, value: Value, buffer: Buffer) -> int:
        """Add a buffer for a value."""
        self.buffers.append(buffer)
        self.buffer_of[value] = len(self.buffers) - 1
        return len(self.buffers) - 1


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
            if is_kernel(node):
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
        arena_bytes=context.memory.arena_bytes,
        target=str(context.target),
        prepared=sum(map(is_kernel, prepared_nodes(graph))),
    )


def _place_computed(a: Assembly) -> None:
    for node in a.graph.nodes:
        if isinstance(node.op, Constant):
            array = node.op.array.array
            number = len(a.constants)
            a.place(node.outputs[0], Buffer(f"constant{number}", array.dtype.name, array.shape, "constant", number))
            a.constants.append(array)
    for i, slot in enumerate(a.memory.slots):
        type_ = slot.value.type
        a.place(slot.value, Buffer(f"value{i}", type_.dtype, type_.shape, "arena", slot.offset))


def _emit_instruction(a: Assembly, node: Node) -> None:
    # Numba is imported here, when a kernel must be printed, and by `compile_kernel`: a warm start needs neither.
    from compiler.codegen.kernels import cpu_kernel

    if not isinstance(node.op, Fused):
        raise TypeError(f"'{node.op.name}' is no kernel: run the pass 'fuse' first.")
    operands = tuple(a.buffer_of[root_of(value)] for value in (*node.inputs, *node.outputs))
    printed = cpu_kernel(node.op.body, a.target, _shared_memory(a, operands))
    label = label_of(node)
    kernel = _kernel_index(a, label, printed.source, printed.namespace, printed.identity)
    a.instructions.append(
        Instruction(
            kernel=kernel,
            operands=operands,
            extents=printed.extents,
            work=printed.work,
            scratch=printed.scratch,
            label=label,
            reads=len(node.inputs),
        )
    )


def _shared_memory(a: Assembly, operands: tuple[int, ...]) -> dict[int, int]:
    """Positions of operands that are the memory of an earlier operand, and which one."""
    first: dict[object, int] = {}
    shared: dict[int, int] = {}
    for position, index in enumerate(operands):
        buffer = a.buffers[index]
        place: object = ("arena", buffer.offset) if buffer.space == "arena" else index
        if place in first:
            shared[position] = first[place]
        else:
            first[place] = position
    return shared


def label_of(node: Node) -> str:
    """A short name of a fused node for tables: the layer and the ops, most telling first."""
    if not isinstance(node.op, Fused):
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
    if not symbol:
        if a.queue is None:
            a.queue = a.leave.enter_context(KernelQueue())
        a.compiling[index] = a.queue.start(source, namespace)
    return index


def _finish_kernels(a: Assembly) -> None:
    for index, result in a.compiling.items():
        compiled = result()
        kernel = a.kernels[index]
        a.kernels[index] = dataclasses.replace(kernel, symbol=compiled.symbol, object_code=compiled.object_code)
        default_cache().put(kernel.key, compiled.symbol, compiled.object_code)
