"""Graph in, executable out: the pipeline, kernels, their object code, and the program that calls them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from compiler.collector import collection_paused
from compiler.ir import Graph
from compiler.target import Target, host_target
from compiler.text import to_text
from compiler.version import source_version
from runtime.cache import default_cache
from runtime.dimensions import Dim
from runtime.logs import logged_topics
from runtime.program import Program, ProgramError

# The passes are imported where they run: a graph that was compiled before is loaded without them.
if TYPE_CHECKING:
    from compiler.instruments import Instrument
    from compiler.passes.context import PassContext, Remark
    from compiler.passes.plan_memory import MemoryPlan
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
        return optimize(self.traced, target=self.target, bindings=self.bindings, winograd=self.winograd)

    @property
    def graph(self) -> Graph:
        """The graph after all passes: fused kernels, aliases, constants."""
        return self._optimized[0]

    @property
    def context(self) -> PassContext:
        """What the passes left beside the graph."""
        return self._optimized[1]

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What the passes had to say, e.g. why two nodes are not one kernel."""
        return tuple(self._optimized[1].remarks)

    @property
    def memory(self) -> MemoryPlan:
        """The memory plan, with the lives that the program's instructions give its blocks.

        The pass counts a loop's states as alive throughout the loop; its instructions say more exactly when they are.
        """
        plan = self._optimized[1].memory
        if plan is None:
            raise RuntimeError("the pipeline ended without a memory plan")
        return dataclasses.replace(plan, lives=self.program.lives)

    def __repr__(self) -> str:
        return f"Compiled({self.program!r})"


@collection_paused()
def optimize(
    graph: Graph, *, target: Target | None = None, bindings: Mapping[str, Dim] | None = None, winograd: bool = True
) -> tuple[Graph, PassContext]:
    """A graph after all passes, and what they left beside it; no kernel is printed or compiled for it.

    The arguments are those of `compile_graph`.
    """
    from compiler.passes.context import PassContext
    from compiler.pipeline import run_pipeline

    context = PassContext(target or host_target(), bindings=dict(bindings or {}), winograd=winograd)
    return run_pipeline(graph, context), context


@collection_paused()
def compile_graph(
    graph: Graph,
    *,
    target: Target | None = None,
    bindings: Mapping[str, Dim] | None = None,
    winograd: bool = True,
    instruments: Sequence[Instrument] = (),
) -> Compiled:
    """Compile a graph for the CPU this process runs on.

    One program serves every size of the graph's symbols; `bindings` fixes some of them instead.
    `winograd`: whether convolutions may take Winograd's form where that is faster, with a little more rounding.

    A graph compiled before on this machine is loaded from the cache, which neither runs the passes nor imports
    Numba. Instruments see the passes, so with any of them, or one that `GRAPHCORE_LOGS` or `GRAPHCORE_DUMP` asks for,
    the passes run; see `compiler.instruments`.

    Raises:
        KernelCompileError: naming the kernel, if an op has no lowering for the target.
    """
    target = target or host_target()
    sizes = dict(bindings or {})
    key = program_key(graph, target, sizes, winograd)
    cache = default_cache()
    stored = None if instruments or _is_watched() else cache.get(key)
    if stored is not None:
        try:
            return Compiled(graph, target, Program.from_bytes(stored[1]), sizes, winograd)
        except ProgramError:
            pass  # a damaged entry is a miss
    from compiler.assembly import assemble
    from compiler.instruments.environment import environment_instruments
    from compiler.passes.context import PassContext
    from compiler.pipeline import run_pipeline

    context = PassContext(target, bindings=sizes, winograd=winograd)
    watching = (*instruments, *environment_instruments(graph, context))
    optimized = run_pipeline(graph, context, instruments=watching)
    program = assemble(optimized, context)
    for instrument in watching:
        instrument.assembled(program)
    cache.put(key, PROGRAM_ENTRY, program.to_bytes())
    compiled = Compiled(graph, target, program, sizes, winograd)
    compiled.__dict__["_optimized"] = (optimized, context)
    return compiled


def _is_watched() -> bool:
    """Whether the environment asks to see what the compiler does, which a program from the cache would not show."""
    return bool(os.environ.get("GRAPHCORE_DUMP") or logged_topics() - {"cache"})


def program_key(
    graph: Graph, target: Target, bindings: Mapping[str, Dim] = EVERY_SIZE, winograd: bool = True
) -> str:
    """Content address of a program: the graph, its fixed sizes, the target, the options, and this compiler."""
    fixed = ",".join(f"{name}={dim}" for name, dim in sorted(bindings.items()))
    options = f"winograd={winograd}"
    version = source_version("compiler", "runtime")
    parts = (version, str(target), target.features, options, fixed, to_text(graph, sources=False))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
