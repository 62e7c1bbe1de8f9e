"""A graph's way to a program, stage by stage: `stages(graph)` of the compiler, `model.lower("train")` of a model.

    found = stages(parse(text))
    print(found.optimized)                   the graph after the passes, as text
    rich.print(found.kernels)                a table
    found.kernels[3].assembly                what the processor runs
    found.memory.to_dict({"batch": 32})      plain data

Nothing is compiled before a stage is asked for that needs it: `traced` needs nothing, `optimized` the passes, the
others a program. A graph that was compiled before comes from the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from compiler.inspect.graph_stage import GraphStage
from compiler.inspect.kernel_stage import KernelsStage
from compiler.inspect.memory_stage import MemoryStage
from compiler.inspect.program_stage import ProgramStage
from compiler.inspect.sheet import Sheet
from compiler.inspect.stage import Stage
from compiler.ir import Graph

if TYPE_CHECKING:
    from compiler.driver import Compiled
    from compiler.target import Target
    from runtime.dimensions import Dim

__all__ = ["STAGES", "Stages", "stages"]

STAGES = ("traced", "optimized", "kernels", "memory", "program")


class Stages(Stage):
    """The stages of one graph.

    Args:
        traced: the graph as it was given.
        compile_it: compiles it, when that is first needed.
        optimize_it: runs the passes only; not called once it is compiled.
    """

    name = "stages"

    def __init__(
        self, traced: Graph, compile_it: Callable[[], Compiled], optimize_it: Callable[[], Graph]
    ) -> None:
        self._graph = traced
        self._compile = compile_it
        self._optimize = optimize_it

    @functools.cached_property
    def compiled(self) -> Compiled:
        """The compiled graph."""
        return self._compile()

    @functools.cached_property
    def traced(self) -> GraphStage:
        """The graph as it was given."""
        return GraphStage("traced", self._graph)

    @functools.cached_property
    def optimized(self) -> GraphStage:
        """The graph after all passes: one node for each kernel."""
        is_compiled = "compiled" in vars(self)
        return GraphStage("optimized", self.compiled.graph if is_compiled else self._optimize())

    @functools.cached_property
    def kernels(self) -> KernelsStage:
        """The kernels: text, LLVM IR, assembly, choices, costs."""
        return KernelsStage(self.compiled)

    @functools.cached_property
    def memory(self) -> MemoryStage:
        """The plan of memory."""
        return MemoryStage(self.compiled)

    @functools.cached_property
    def program(self) -> ProgramStage:
        """The instructions."""
        return ProgramStage(self.compiled)

    def __getitem__(self, name: str) -> Any:
        """A stage by its name.

        Raises:
            KeyError: if there is no such stage.
        """
        if name not in STAGES:
            raise KeyError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}")
        return getattr(self, name)

    def __iter__(self) -> Iterator[Stage]:
        return (self[name] for name in STAGES)

    def __repr__(self) -> str:
        return f"<stages of {self._graph!r}: {', '.join(STAGES)}>"

    def to_dict(self) -> dict[str, Any]:
        """All stages by name; see `Stage.to_dict`."""
        return {name: self[name].to_dict() for name in STAGES}

    def sheet(self) -> Sheet:
        """A row for each stage."""
        rows = tuple((stage.name, repr(stage).removeprefix(f"<{stage.name}: ").removesuffix(">")) for stage in self)
        return Sheet(f"stages of graph {self._graph.name}", ("Stage", "What it holds"), rows)


def stages(
    graph: Graph,
    *,
    target: Target | None = None,
    bindings: Mapping[str, Dim] | None = None,
    winograd: bool = True,
) -> Stages:
    """The stages of a graph; the arguments are those of `compiler.driver.compile_graph`."""

    def compile_it() -> Compiled:
        from compiler.driver import compile_graph

        return compile_graph(graph, target=target, bindings=bindings, winograd=winograd)

    def optimize_it() -> Graph:
        from compiler.driver import optimize

        return optimize(graph, target=target, bindings=bindings, winograd=winograd)[0]

    return Stages(graph, compile_it, optimize_it)
