"""Graph in, something that runs on a CUDA device out: the same passes and the same memory plan as for the CPU.

    executable = compile_graph_for_cuda(graph)
    outputs, updated = executable.run(inputs, variables)

Right, not yet fast: every run copies its arrays to the device and back, and kernels are launched one by one.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numba import cuda as numba_cuda

from compiler.assembly import Assembly, assemble, group_of, label_of, operands_of
from compiler.codegen.cuda import CudaKernel, LaunchLimits, cuda_kernel
from compiler.codegen.cuda_compile import launchable
from compiler.codegen.cuda_math import SIMULATED
from compiler.instruments.environment import environment_instruments
from compiler.ir import Array, Graph, Node
from compiler.ops.fused import FusedSteps
from compiler.passes.context import PassContext
from compiler.pipeline import run_pipeline
from compiler.target import CUDA_TARGET
from runtime.arguments import bind_symbols
from runtime.dimensions import evaluate
from runtime.loops import Loop
from runtime.program import DTYPES, Instruction, Kernel, Program

cuda: Any = numba_cuda

# Every thread of the simulator is a thread of the operating system, and blocks run one after another.
SIMULATOR_LIMITS = LaunchLimits(threads=4, blocks=2, tile=4)
SWITCH_SECONDS = 1e-5


def default_limits() -> LaunchLimits:
    """Grids for the device of this process: a GPU or the simulator."""
    return SIMULATOR_LIMITS if SIMULATED else LaunchLimits()


def compile_graph_for_cuda(graph: Graph, *, limits: LaunchLimits | None = None) -> CudaExecutable:
    """Run the passes on a graph and print a CUDA kernel for each group they form.

    Numba compiles a kernel at its first launch. Nothing here needs a GPU until then.

    Raises:
        ValueError, TypeError: from the passes, with a note of the pass and the graph.
    """
    limits = limits or default_limits()
    context = PassContext(CUDA_TARGET)
    watching = environment_instruments(graph, context)
    optimized = run_pipeline(graph, context, instruments=watching)
    kernels: list[CudaKernel] = []

    def emit(a: Assembly, node: Node) -> None:
        kernel = _emit_instruction(a, node, limits)
        if len(a.kernels) > len(kernels):
            kernels.append(kernel)

    program = assemble(optimized, context, emit)
    for instrument in watching:
        instrument.assembled(program)
    return CudaExecutable(program, tuple(kernels), limits)


def _emit_instruction(a: Assembly, node: Node, limits: LaunchLimits) -> CudaKernel:
    group, operands = group_of(node), operands_of(a, node)
    if isinstance(group, FusedSteps):
        raise TypeError(
            f"'{group.name}' computes the leading {group.steps!r} only, which kernels of the CPU can and those of CUDA "
            "cannot. Compile the graph as it was before the pass 'limit_kernels'."
        )
    printed = cuda_kernel(group.body, limits)
    label = label_of(node)
    dtypes = " ".join(operand.dtype for operand in printed.operands)
    key = hashlib.sha256(f"{dtypes} {printed.block}\n{printed.source}".encode()).hexdigest()
    if key not in a.kernel_of:
        a.kernel_of[key] = len(a.kernels)
        a.kernels.append(Kernel(label, key, "kernel", b"", printed.source))
    reads = len(group.body.inputs)
    a.instructions.append(Instruction(a.kernel_of[key], operands, printed.extents, printed.work, 0, label, reads))
    return printed


class CudaExecutable:
    """A compiled graph on a CUDA device. `program` is its plan, `kernels` are those of the program, in order."""

    def __init__(self, program: Program, kernels: tuple[CudaKernel, ...], limits: LaunchLimits) -> None:
        self.program = program
        self.kernels = kernels
        self.limits = limits
        self._launchable: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"CudaExecutable({self.program!r})"

    def run(
        self, inputs: Sequence[Array], variables: Sequence[Array] = ()
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Run the program once; returns its outputs and the values of all variables afterwards, by name.

        Arrays have the dtypes and shapes that the graph declares; none of them is changed.

        Raises:
            TypeError: for something else than an array, or another dtype.
            ValueError: for another number of arrays, or shapes that do not fit.
        """
        program = self.program
        given = _checked(program, "input", program.inputs, inputs)
        given |= _checked(program, "variable", program.variables, variables)
        symbols = bind_symbols(program, [(index, array.shape) for index, array in given.items()])
        memory = self._place(given, symbols)
        with _quick_switches():
            for index in self._order(memory, symbols):
                self._launch(program.instructions[index], memory, symbols)
        results = tuple(self._fetch(index, memory, symbols) for index in program.outputs)
        names = (program.buffers[index].name for index in program.variables)
        return results, dict(
            zip(names, (self._fetch(index, memory, symbols) for index in program.variables), strict=True)
        )

    def _place(self, given: Mapping[int, Array], symbols: Mapping[str, int]) -> list[Any]:
        """A flat device array for each buffer; those of the arena are views of one, windows are made at each step."""
        sizes = [self.program.buffer_bytes(index, symbols) for index in range(len(self.program.buffers))]
        placement = self.program.placement(sizes, symbols)
        arena = cuda.device_array(max(1, placement.size), np.uint8)
        memory: list[Any] = []
        for index, (buffer, size) in enumerate(zip(self.program.buffers, sizes, strict=True)):
            dtype = DTYPES[buffer.dtype]
            if index in given:
                memory.append(_to_device(given[index]))
            elif buffer.space == "constant":
                memory.append(_to_device(self.program.constants[buffer.place]))
            elif buffer.space == "arena":
                start = placement.offsets[buffer.place] + evaluate(buffer.start, symbols)
                memory.append(arena[start : start + size].view(dtype))
            elif buffer.space == "window":
                memory.append(None)
            else:
                memory.append(cuda.device_array(max(1, size // dtype.itemsize), dtype))
        return memory

    def _order(self, memory: list[Any], symbols: Mapping[str, int]) -> Iterator[int]:
        """The instructions to launch, those of loops once for each step; windows are moved on the way."""
        index, count = 0, len(self.program.instructions)
        loops = {loop.first: loop for loop in self.program.loops}
        while index < count:
            loop = loops.get(index)
            if loop is None:
                yield index
                index += 1
                continue
            for step in self._steps(loop, memory, symbols):
                for window in loop.windows:
                    buffer = self.program.buffers[window.buffer]
                    size = self.program.buffer_bytes(window.buffer, symbols) // DTYPES[buffer.dtype].itemsize
                    start = window.entry(step) * size
                    memory[window.buffer] = memory[window.source][start : start + size]
                yield from range(loop.first, loop.end)
            index = loop.end

    def _steps(self, loop: Loop, memory: Sequence[Any], symbols: Mapping[str, int]) -> Sequence[int]:
        """The steps that a loop runs, in their order; a limit is read from the device."""
        count = evaluate(loop.count, symbols)
        first, end = 0, count
        if loop.limit >= 0:
            limit = min(max(int(memory[loop.limit].copy_to_host()[0]), 0), count)
            first, end = (limit, count) if loop.beyond else (0, limit)
        return range(end - 1, first - 1, -1) if loop.reverse else range(first, end)

    def _launch(self, instruction: Instruction, memory: Sequence[Any], symbols: Mapping[str, int]) -> None:
        kernel = self.kernels[instruction.kernel]
        work = evaluate(instruction.work, symbols)
        if work == 0:
            return
        if instruction.kernel not in self._launchable:
            self._launchable[instruction.kernel] = launchable(kernel)
        blocks = min(-(-work // kernel.items_per_block), self.limits.blocks)
        arguments = [memory[operand] for operand in instruction.operands]
        extents = [evaluate(extent, symbols) for extent in instruction.extents]
        self._launchable[instruction.kernel][blocks, kernel.block](*arguments, *extents, work)

    def _fetch(self, index: int, memory: Sequence[Any], symbols: Mapping[str, int]) -> Array:
        shape = tuple(evaluate(extent, symbols) for extent in self.program.buffers[index].shape)
        flat: Array = memory[index].copy_to_host()
        return flat[: int(np.prod(shape))].reshape(shape)


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    """In the simulator a thread that looks whether all have met at a barrier keeps the others waiting for a whole
    switch interval of the interpreter: 5 ms unless told otherwise. A real device does not mind."""
    before = sys.getswitchinterval()
    if SIMULATED:
        sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _to_device(array: Array) -> Any:
    """A flat copy in device memory; of at least one element, since empty arrays cannot be there."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return cuda.to_device(flat if flat.size else np.zeros(1, flat.dtype))


def _checked(program: Program, what: str, indices: Sequence[int], arrays: Sequence[Array]) -> dict[int, Array]:
    """The arrays by buffer."""
    if len(arrays) != len(indices):
        names = ", ".join(repr(program.buffers[index].name) for index in indices) or "none"
        raise ValueError(f"program {program.name!r} takes {len(indices)} {what}s ({names}). Received: {len(arrays)}")
    for index, array in zip(indices, arrays, strict=True):
        buffer = program.buffers[index]
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{what} {buffer.name!r} must be a NumPy array. Received: {type(array).__name__}")
        if array.dtype != DTYPES[buffer.dtype]:
            raise TypeError(
                f"{what} {buffer.name!r} must have dtype {buffer.dtype}; convert it with "
                f"array.astype({buffer.dtype!r}). Received: {array.dtype}"
            )
    return dict(zip(indices, arrays, strict=True))
