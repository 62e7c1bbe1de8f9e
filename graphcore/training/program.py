"""A traced step: one graph from the inputs of a batch to predictions and to new values of all state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.interpret import interpret
from compiler.ir import Graph
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.target import host_target
from graphcore import tree
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace
from graphcore.training.data.arrays import Array, Batch
from graphcore.training.input_types import InputType
from graphcore.variable import Variable
from runtime import contents

if TYPE_CHECKING:
    from compiler.driver import Compiled
    from runtime.profile import Profile


class StepProgram:
    """A step that runs on arrays and keeps its state in variables.

    Args:
        graph: the step as traced.
        variables: in the order of the graph's variables.
        results: what the traced function returned, with the number of an output in the place of each tensor.
        jit: compile the graph at the first run; otherwise interpret it with NumPy.

    Attributes:
        updated: identities (`id`) of the variables that the step gives new values.
    """

    def __init__(self, graph: Graph, variables: Sequence[Variable], results: Any, jit: bool) -> None:
        self.graph = graph
        self.variables = tuple(variables)
        self.jit = jit
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

            self._compiled = compile_graph(self.graph)
        return self._compiled

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

    def __call__(self, batch: Batch) -> Any:
        """Run the step on a batch; returns what the traced function returned, with arrays for tensors."""
        outputs = self.run(flat_arrays(batch))
        if self._results is None:
            return None
        return tree.map_structure(
            lambda leaf: outputs[leaf.index] if isinstance(leaf, OutputNumber) else leaf, self._results
        )

    def measure(self, batch: Batch, runs: int = 20) -> Profile:
        """Times of the kernels over some runs of a compiled step; variables are put back as they were.

        Args:
            batch: arrays such as the step was traced for.
            runs: counted runs; one more comes first, to warm up.

        Raises:
            ValueError: if the step is interpreted.
        """
        if not self.jit:
            raise ValueError("Only compiled steps have kernels to measure. Compile the model with jit=True.")
        inputs = flat_arrays(batch)
        before = [array.copy() for array in self._arrays]
        from runtime.profile import Profile  # here, so that describing a model does not load LLVM

        profile = Profile()
        try:
            self.run(inputs)
            for _ in range(runs):
                self.compiled.executable.run(inputs, self._arrays, profile)
        finally:
            for array, value in zip(self._arrays, before, strict=True):
                array[...] = value
            contents.changed(self._arrays)
        return profile

    def _interpret(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        if self._oracle is None:
            context = PassContext(host_target())
            self._oracle = eliminate_dead_code(differentiate(self.graph, context), context)
        outputs, updates = interpret(self._oracle, inputs, self._arrays)
        # An output may be the memory of an input or variable, which the next step overwrites.
        copies = tuple(np.array(output) for output in outputs)
        for entry, array in zip(self._oracle.variables, self._arrays, strict=True):
            if entry.name in updates:
                array[...] = updates[entry.name]
        contents.changed(self._arrays)
        return copies


def flat_arrays(batch: Batch) -> list[Array]:
    """The arrays of a batch in the order of a program's inputs."""
    arrays: list[Array] = []
    for part in batch:
        if type(part) is np.ndarray:
            arrays.append(part)
        elif part is not None:
            arrays += [leaf for leaf in tree.flatten(part) if leaf is not None]
    return arrays


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
    """
    trace = Trace(name, training=training)
    declared = iter(types)

    def placeholder(leaf: Array | None) -> KerasTensor | None:
        if leaf is None:
            return None
        type_ = next(declared)
        return trace.input(type_.name, type_.dims, type_.dtype)

    with trace:
        tensors = Batch(*(tree.map_structure(placeholder, part) for part in batch))
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
    return StepProgram(graph, variables, numbered, jit)
