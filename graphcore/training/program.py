"""A traced step: one graph from the inputs of a batch to predictions and to new values of all state."""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from compiler import functions
from compiler.interpret import interpret
from compiler.ir import Graph
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.target import host_target
from graphcore import settings, tree
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace
from graphcore.training.data.arrays import Array, Batch, flat_arrays
from graphcore.training.data.stretch import Layout, Stretch
from graphcore.training.input_types import SAMPLES, InputType
from graphcore.variable import Variable
from runtime import contents

if TYPE_CHECKING:
    from compiler.driver import Compiled
    from runtime.profile import Profile


# A step with one input and one output, the type of its input, and `Executable.run_one_again` with what it takes beside
# an array. A plain tuple, since those are the quickest to take apart.
Repeated: TypeAlias = tuple[
    "StepProgram", np.dtype[Any], Callable[[Array, Sequence[Array], Any], Array | None], tuple[Array, ...], Any
]


_recent: deque[weakref.ref[StepProgram]] = deque(maxlen=64)


def recent_programs() -> list[StepProgram]:
    """The programs compiled last, as far as they are still in use, the latest first."""
    return [program for reference in reversed(_recent) if (program := reference()) is not None]


class StepProgram:
    """A step that runs on arrays and keeps its state in variables.

    Args:
        graph: the step as traced.
        variables: in the order of the graph's variables.
        results: what the traced function returned, with the number of an output in the place of each tensor.
        jit: compile the graph at the first run; otherwise interpret it with NumPy.
        layout: in which form the program takes a batch; None for as it is.
        checked: where it is interpreted, stop at the first NaN or infinity (`compiler.nonfinite`).

    Attributes:
        updated: identities (`id`) of the variables that the step gives new values.
    """

    def __init__(
        self,
        graph: Graph,
        variables: Sequence[Variable],
        results: Any,
        jit: bool,
        layout: Layout | None = None,
        checked: bool = False,
    ) -> None:
        self.graph = graph
        self.layout = layout
        self.variables = tuple(variables)
        self.jit = jit
        self.checked = checked
        self._results = results
        names = {name for name, _ in graph.updates}
        pairs = zip(graph.variables, self.variables, strict=True)
        self.updated = frozenset(id(variable) for entry, variable in pairs if entry.name in names)
        self._arrays = tuple(variable.storage for variable in variables)
        self._compiled: Compiled | None = None
        self._run: Callable[..., tuple[Array, ...]] | None = None
        self._oracle: Graph | None = None

    @property
    def compiled(self) -> Compiled:
        """The compiled step: optimized graph, program, memory plan, executable."""
        if self._compiled is None:
            from compiler.driver import compile_graph  # here, since describing a model needs no compiler

            self._compiled = compile_graph(self.graph, winograd=settings.winograd())
            _recent.append(weakref.ref(self))
        return self._compiled

    def optimize(self) -> Graph:
        """The step's graph after all passes; nothing is compiled for it."""
        if self._compiled is not None:
            return self._compiled.graph
        from compiler.driver import optimize

        return optimize(self.graph, winograd=settings.winograd())[0]

    @property
    def returns_one_array(self) -> bool:
        """Whether calling the step returns its first output as it is."""
        return isinstance(self._results, OutputNumber)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Run the step once: variables get their new values; returns the outputs.

        Args:
            inputs: arrays in the order of the graph's inputs.
        """
        if self._run is None:
            if not self.jit:
                return self._interpret(inputs)
            self._run = self.compiled.executable.run
        return self._run(inputs, self._arrays, tracked=True)

    def repeated(self, x: Array) -> Repeated:
        """For a compiled step that has just been run: how to make its only output of arrays like its only input."""
        executable = self.compiled.executable
        return self, x.dtype, executable.run_one_again, self._arrays, executable.call_like(x)

    def run_stretch(
        self, stretch: Stretch, out: Sequence[Array] | None = None, split_out: Sequence[bool] = ()
    ) -> tuple[Array, ...]:
        """Run all steps of a stretch; returns the outputs of the last one, or `out`.

        Args:
            stretch: arrays in the program's layout.
            out: arrays that receive the outputs.
            split_out: which of them collect those of all steps, one after another along axis 0.
        """
        if not self.jit:
            return self._interpret_stretch(stretch, out, split_out)
        if stretch.steps == 1:
            return self.compiled.executable.run(stretch.arrays, self._arrays, out=out, tracked=True)
        return self.compiled.executable.run_steps(
            stretch.steps, stretch.arrays, self._arrays, stretch.split, out=out, split_out=split_out, tracked=True
        )

    def results(self, outputs: Sequence[Any]) -> Any:
        """What the traced function returned, with these in the place of its tensors."""
        if self._results is None:
            return None
        return tree.map_structure(
            lambda leaf: outputs[leaf.index] if isinstance(leaf, OutputNumber) else leaf, self._results
        )

    def __call__(self, batch: Batch) -> Any:
        """Run the step on a batch; returns what the traced function returned, with arrays for tensors."""
        return self.results(self.run(self._entries(batch)))

    def _entries(self, batch: Batch) -> list[Array]:
        """The program's inputs for a batch as the model sees it."""
        arrays = flat_arrays(batch)
        if self.layout is None:
            return arrays
        arrays = [array.astype(dtype, copy=False) for array, dtype in zip(arrays, self.layout.dtypes, strict=True)]
        return [np.arange(len(arrays[0]), dtype=np.int64), *arrays] if self.layout.by_rows else arrays

    def measure(self, batch: Batch, runs: int = 20) -> Profile:
        """Times of the kernels over some runs of a compiled step; variables are put back as they were.

        Args:
            batch: arrays such as the step was traced for.
            runs: counted runs; `WARM_RUNS` come first.

        Raises:
            ValueError: if the step is interpreted.
        """
        if not self.jit:
            raise ValueError("Only compiled steps have kernels to measure. Compile the model with jit=True.")
        inputs = self._entries(batch)
        from runtime.profile import WARM_RUNS, Profile  # here, so that describing a model does not load LLVM

        profile = Profile()
        with self.variables_kept():
            for _ in range(WARM_RUNS):
                self.run(inputs)
            for _ in range(runs):
                self.compiled.executable.run(inputs, self._arrays, profile, tracked=True)
        return profile

    @contextlib.contextmanager
    def variables_kept(self) -> Iterator[None]:
        """Inside, steps may run; afterwards the variables are as they were."""
        before = [array.copy() for array in self._arrays]
        try:
            yield
        finally:
            for array, value in zip(self._arrays, before, strict=True):
                array[...] = value
            contents.changed(self._arrays)

    def _interpret(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        if self._oracle is None:
            context = PassContext(host_target())
            self._oracle = eliminate_dead_code(differentiate(self.graph, context), context)
        run = interpret
        if self.checked:
            from compiler.nonfinite import interpret_checked as run  # here, since few programs look for NaN
        outputs, updates = run(self._oracle, inputs, self._arrays)
        # An output may be the memory of an input or variable, which the next step overwrites.
        copies = tuple(np.array(output) for output in outputs)
        for entry, array in zip(self._oracle.variables, self._arrays, strict=True):
            if entry.name in updates:
                array[...] = updates[entry.name]
        contents.changed(self._arrays)
        return copies

    def _interpret_stretch(
        self, stretch: Stretch, out: Sequence[Array] | None, split_out: Sequence[bool]
    ) -> tuple[Array, ...]:
        outputs: tuple[Array, ...] = ()
        for step in range(stretch.steps):
            outputs = self._interpret(
                [
                    array[step * len(array) // stretch.steps : (step + 1) * len(array) // stretch.steps]
                    if is_split
                    else array
                    for array, is_split in zip(stretch.arrays, stretch.split, strict=True)
                ]
            )
            if out is None:
                continue
            for array, output, is_split in zip(out, outputs, split_out, strict=True):
                start = step * len(output) if is_split else 0
                array[start : start + len(output)] = output
        return outputs if out is None else tuple(out)


class OutputNumber:
    """Stands in a structure for the graph's output of this number."""

    def __init__(self, index: int) -> None:
        self.index = index


def trace_step(
    name: str,
    function: Callable[[Batch], Any],
    batch: Batch,
    types: Sequence[InputType],
    *,
    training: bool,
    jit: bool,
    returns_results: bool = True,
    layout: Layout | None = None,
    checked: bool = False,
) -> StepProgram:
    """Trace `function` on a batch of these types.

    Args:
        name: the graph's name.
        function: called once with tensors in the place of the batch's arrays.
        batch: gives the nested structure.
        types: of the arrays, in flat order.
        training: what layers are told.
        jit: see `StepProgram`.
        returns_results: whether the tensors that the function returns become outputs of the graph.
        layout: in which form the program takes the batch; None for as it is.
        checked: see `StepProgram`.
    """
    trace = Trace(name, training=training)
    with trace:
        declared = iter(_declare(trace, types, layout))
        tensors = Batch(
            *(tree.map_structure(lambda leaf: None if leaf is None else next(declared), part) for part in batch)
        )
        results = function(tensors)
        if not returns_results:
            results = None
        outputs: dict[str, KerasTensor] = {}

        def number(leaf: Any) -> Any:
            if isinstance(leaf, Variable):
                leaf = trace.read(leaf)
            if not isinstance(leaf, KerasTensor):
                return leaf
            outputs[f"output_{len(outputs)}"] = leaf
            return OutputNumber(len(outputs) - 1)

        numbered = tree.map_structure(number, results)
    graph, variables = trace.finish(outputs)
    return StepProgram(graph, variables, numbered, jit, layout, checked)


def _declare(trace: Trace, types: Sequence[InputType], layout: Layout | None) -> list[KerasTensor]:
    """The batch as the function sees it, made from what the program gets."""
    if layout is None:
        return [trace.input(type_.name, type_.dims, type_.dtype) for type_ in types]
    b = trace.builder
    rows = trace.unwrap(trace.input("rows", types[0].dims[:1], "int64")) if layout.by_rows else None
    tensors = []
    with trace.layer("input", ""):
        for type_, dtype in zip(types, layout.dtypes, strict=True):
            dims = type_.dims if rows is None else (SAMPLES, *type_.dims[1:])
            value = trace.unwrap(trace.input(type_.name, dims, dtype))
            if rows is not None:
                value = functions.take(b, value, rows, 0)
            tensors.append(trace.wrap(functions.cast(b, value, type_.dtype)))
    return tensors
