"""What a report is about: a graph, what the passes made of it, its program, its layers, and a profile of some runs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compiler.inspect.kernel_times import UsualRun, usual_runs, usual_threads
from compiler.inspect.stages import Stages
from compiler.instruments.instrument import Instrument
from compiler.instruments.made_up import warmed_up
from compiler.ir import Array, Graph
from compiler.passes.context import PassContext
from compiler.pipeline import run_pipeline
from runtime.dimensions import evaluate

if TYPE_CHECKING:
    from compiler.driver import Compiled
    from compiler.inspect.calls import KernelCall
    from runtime.profile import Profile

__all__ = ["LayerRow", "PassRun", "Subject", "measured", "path_of"]

RUNS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class LayerRow:
    """One call of a layer.

    Attributes:
        path: names of the models and layers around it, then its own.
        kind: its class; empty if that is not known.
        shape: of its result, as text.
        parameters: weights that are its own, counted at its first call only.
        inputs: numbers of the rows whose results it reads.
    """

    path: tuple[str, ...]
    kind: str = ""
    shape: str = ""
    parameters: int = 0
    inputs: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class PassRun:
    """A pass as it ran: the graphs before and after it (the same object if it changed nothing) and its seconds."""

    name: str
    before: Graph
    after: Graph
    seconds: float


class Cost(NamedTuple):
    """Of one instruction in one run: operations of contractions and on single elements, bytes of least traffic."""

    flops: float
    elements: float
    bytes: float


class _Keeper(Instrument):
    """Keeps the graphs before and after each pass."""

    def __init__(self) -> None:
        self.runs: list[PassRun] = []

    def after(self, name: str, before: Graph, after: Graph, context: PassContext, seconds: float) -> None:
        """Add a run."""
        self.runs.append(PassRun(name, before, after, seconds))


@dataclasses.dataclass(frozen=True)
class Subject:
    """See the module's text. `sizes` gives every symbol a value, `layers` is empty where only the graph is known."""

    title: str
    kind: str
    compiled: Compiled
    sizes: Mapping[str, int]
    layers: tuple[LayerRow, ...] = ()
    profile: Profile | None = None
    data_note: str = ""

    @property
    def traced(self) -> Graph:
        """The graph before all passes."""
        return self.compiled.traced

    @functools.cached_property
    def stages(self) -> Stages:
        """The stages of its compilation."""
        return Stages(self.traced, lambda: self.compiled, lambda: self.compiled.graph)

    @functools.cached_property
    def passes(self) -> tuple[PassRun, ...]:
        """All passes, run again."""
        compiled, keeper = self.compiled, _Keeper()
        context = PassContext(compiled.target, bindings=compiled.bindings, winograd=compiled.winograd)
        run_pipeline(self.traced, context, instruments=(keeper,))
        return tuple(keeper.runs)

    def after(self, name: str) -> Graph:
        """The graph after the last run of a pass."""
        return [run.after for run in self.passes if run.name == name][-1]

    @functools.cached_property
    def calls(self) -> tuple[KernelCall, ...]:
        """The program's instructions with the nodes they come from."""
        return self.stages.kernels.calls

    @functools.cached_property
    def _usual(self) -> dict[int, UsualRun]:
        return {} if self.profile is None else usual_runs(self.profile)

    @functools.cached_property
    def seconds(self) -> tuple[float, ...]:
        """What each instruction took in one run, the median of those measured, that of all threads by their number;
        empty if nothing was measured."""
        if not self._usual:
            return ()
        return tuple(self._usual[i].median * 1e-9 if i in self._usual else 0.0 for i in range(len(self.calls)))

    @property
    def threads(self) -> int:
        """By how many threads a run was shared, usually; 0 if nothing was measured."""
        return usual_threads(self.profile) if self.profile is not None and self.profile.runs else 0

    def cost(self, call: KernelCall) -> Cost:
        """What an instruction does in one run: in the usual of those measured, else at every step of its loop."""
        usual = self._usual.get(call.position)
        times = self.number(call.repeats) if usual is None else usual.executions
        flops, elements = (self.number(dim) * times for dim in (call.flops, call.element_operations))
        return Cost(flops, elements, sum(map(self.number, call.least_bytes)) * times)

    def number(self, dim: object) -> int:
        """A size at these `sizes`."""
        return evaluate(dim, self.sizes)  # type: ignore[arg-type]


def path_of(layer: str) -> tuple[str, ...]:
    """The path that a node's layer names."""
    return tuple(layer.split("/")) if layer else ()


def measured(compiled: Compiled, sizes: Mapping[str, int], variables: Iterable[Array] | None = None) -> Profile:
    """A profile of `RUNS` runs on made-up arrays; see `compiler.instruments.made_up.warmed_up`."""
    from runtime.profile import Profile

    inputs, state = warmed_up(compiled, sizes, np.random.default_rng(0), variables)
    profile = Profile()
    for _ in range(RUNS):
        compiled.executable.run(inputs, state, profile)
    return profile
