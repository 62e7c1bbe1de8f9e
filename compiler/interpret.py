"""The NumPy interpreter: the oracle that every compiled program is compared with, and what `jit=False` runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar

import numpy as np

from compiler.ir import Array, Graph, Node, Value
from compiler.ops.binding import bind
from compiler.types import TensorType, concrete_shape
from runtime.dimensions import SymbolicInt, symbols_of

# Sees each node with the arrays that it read and made; may raise.
Check = Callable[[Node, Sequence[Array], Sequence[Array]], None]

_current_check: ContextVar[Check | None] = ContextVar("check", default=None)


@contextlib.contextmanager
def checked_by(check: Check) -> Iterator[None]:
    """Inside, every node that this thread interprets is shown to `check`, those in bodies of loops too."""
    token = _current_check.set(check)
    try:
        yield
    finally:
        _current_check.reset(token)


class BindingError(ValueError):
    """Arrays do not fit the declared types of a graph's inputs."""


def bind_symbols(names: Sequence[str], types: Sequence[TensorType], arrays: Sequence[Array]) -> dict[str, int]:
    """Values of the symbols so that every array has its declared shape.

    Raises:
        BindingError: naming the input, what was expected and what was received.
    """
    bindings: dict[str, int] = {}
    for name, type_, array in zip(names, types, arrays, strict=True):
        if array.ndim != type_.rank:
            raise BindingError(f"'{name}' must have {type_.rank} axes ({type_}). Received: shape={array.shape}")
        for axis, extent in enumerate(type_.shape):
            plain = isinstance(extent, SymbolicInt) and len(symbols_of(extent)) == 1
            if plain and str(extent) in symbols_of(extent):
                bindings.setdefault(str(extent), int(array.shape[axis]))
    for name, type_, array in zip(names, types, arrays, strict=True):
        missing = frozenset().union(*(symbols_of(e) for e in type_.shape), frozenset()) - bindings.keys()
        if missing:
            raise BindingError(f"'{name}' ({type_}) does not determine {', '.join(sorted(missing))}.")
        if concrete_shape(type_.shape, bindings) != array.shape:
            known = ", ".join(f"{symbol}={value}" for symbol, value in bindings.items())
            raise BindingError(
                f"'{name}' must have shape {type_}" + (f" with {known}" if known else "") + f". Received: {array.shape}"
            )
    return bindings


def evaluate_nodes(nodes: Iterable[Node], known: dict[Value, Array], bindings: dict[str, int]) -> None:
    """Run `nodes` in order, adding every result to `known`."""
    check = _current_check.get()
    with np.errstate(all="ignore"):
        for node in nodes:
            bound = bind(node.op, bindings) if bindings else node.op
            inputs = [known[value] for value in node.inputs]
            results = [np.asarray(array) for array in bound.reference(*inputs)]
            if check is not None:
                check(node, inputs, results)
            known.update(zip(node.outputs, results, strict=True))


def interpret(
    graph: Graph, inputs: Sequence[Array], variables: Sequence[Array] = ()
) -> tuple[tuple[Array, ...], dict[str, Array]]:
    """Run a graph; returns its outputs and the new values of the updated variables.

    Float arrays may have another precision than declared: the whole graph then runs in theirs.

    Raises:
        BindingError: if the arrays do not fit the graph's inputs.
    """
    arrays = [np.asarray(array) for array in (*inputs, *variables)]
    names = [entry.name for entry in graph.parameters]
    if len(arrays) != len(names):
        expected = f"{len(names)} arrays ({', '.join(names)})"
        raise BindingError(f"Graph '{graph.name}' takes {expected}. Received: {len(arrays)}")
    types = [entry.value.type for entry in graph.parameters]
    bindings = bind_symbols(names, types, arrays)
    known = {entry.value: array for entry, array in zip(graph.parameters, arrays, strict=True)}
    evaluate_nodes(graph.nodes, known, bindings)
    return tuple(known[v] for _, v in graph.outputs), {name: known[v] for name, v in graph.updates}
