"""Running a traced function at once, on arrays: what calling a layer or an operation on numbers does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.interpret import interpret
from compiler.ir import Graph
from graphcore import tree
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace
from graphcore.variable import Variable

Array = np.ndarray[Any, np.dtype[Any]]


def evaluate(
    function: Callable[..., Any],
    arguments: Any,
    *,
    training: bool | None = None,
    name: str = "eager",
    on_losses: Callable[[list[tuple[Any, Array]]], None] | None = None,
) -> Any:
    """Trace `function(arguments)`, compute its results, and carry out its variable assignments.

    Args:
        function: called once, with a structure like `arguments` whose arrays are tensors of a trace.
        arguments: a nested structure; arrays in it become inputs, everything else is passed on as it is.
        training: what layers without a `training` argument are told.
        name: the graph's name.
        on_losses: called with the numbers of the losses that layers added.

    Returns:
        The function's result with an array in the place of each tensor.
    """
    trace = Trace(name, training=training)
    feeds: dict[str, Array] = {}

    def placeholder(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        key = f"argument_{len(feeds)}"
        feeds[key] = leaf
        return trace.input(key, leaf.shape, leaf.dtype)

    traced = tree.map_structure(placeholder, arguments)
    with trace:
        results = function(traced)
        outputs = {
            f"result_{i}": trace.read(leaf) if isinstance(leaf, Variable) else leaf
            for i, leaf in enumerate(tree.flatten(results))
            if isinstance(leaf, (KerasTensor, Variable))
        }
        losses = [(owner, f"loss_{i}", loss) for i, (owner, loss) in enumerate(trace.losses)]
    graph, variables = trace.finish(outputs | {key: loss for _, key, loss in losses})
    results_by_name, updates = _run(graph, feeds, variables)
    for variable in variables:
        if trace.is_assigned(variable):
            variable.assign(updates[trace.name_of(variable)])
    if on_losses is not None:
        on_losses([(owner, results_by_name[key]) for owner, key, _ in losses])
    leaves = [results_by_name.get(f"result_{i}", leaf) for i, leaf in enumerate(tree.flatten(results))]
    return tree.pack_sequence_as(results, leaves)


def _run(graph: Graph, feeds: dict[str, Array], variables: list[Variable]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Interpret a graph; its results by name in the element types it declares, and the updates."""
    outputs, updates = interpret(graph, list(feeds.values()), [variable.array for variable in variables])
    named = {
        name: np.array(array, dtype=value.type.dtype)
        for (name, value), array in zip(graph.outputs, outputs, strict=True)
    }
    return named, updates
