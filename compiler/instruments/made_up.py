"""Sizes and numbers for running a graph where nobody gave any: to measure it, or to compare two ways of computing it.

Integers that are looked up in a table are spread over all of it, so that its rows come from where rows come from. All
else is harmless: no operand of a division or a logarithm is 0 or negative, and no variance is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from compiler.bodies import loop_body
from compiler.ir import Array, Graph, Node, Value
from compiler.passes.schedule import TYPICAL_EXTENT
from compiler.types import concrete_shape, is_float, symbols_of_type
from runtime.dimensions import Dim, evaluate

if TYPE_CHECKING:
    from compiler.driver import Compiled
    from runtime.program import Program

__all__ = [
    "DATA_NOTE", "checked_sizes", "made_up_array", "made_up_arrays", "open_symbols", "program_sizes", "warmed_up",
]  # fmt: skip

DATA_NOTE = "made up: floats from 0.1 to 1, integers spread over the table that they are looked up in, others 0 and 1"

# Ops whose result holds numbers of their first operand and no others.
_MOVES = frozenset({"broadcast", "cast", "reshape", "reverse", "rows", "slice", "stop_gradient", "transpose"})


def program_sizes(program: Program, sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """A value for each symbol: the only one it has, the one given, or the extent that the compiler takes for typical.

    Raises:
        ValueError: for a symbol that the program does not have, or another value than the only one that it has.
    """
    return checked_sizes(program.symbols, sizes or {}, TYPICAL_EXTENT, dict(program.fixed))


def open_symbols(graph: Graph) -> frozenset[str]:
    """The symbols in the shapes of a graph's inputs and variables."""
    return frozenset[str]().union(*(symbols_of_type(entry.value.type) for entry in graph.parameters))


def checked_sizes(
    symbols: Iterable[str], sizes: Mapping[str, int], default: int, fixed: Mapping[str, int]
) -> dict[str, int]:
    """A value for each symbol; `default` for those of which nothing is said. See `program_sizes`."""
    known = sorted(symbols)
    for name, value in sizes.items():
        if name not in known:
            raise ValueError(f"the graph has no symbol {name!r}; its symbols are: {', '.join(known) or 'none'}")
        if fixed.get(name, value) != value:
            raise ValueError(f"the symbol {name!r} can only be {fixed[name]}. Received: {name}={value}")
    return {name: fixed.get(name, sizes.get(name, default)) for name in known}


def made_up_array(
    shape: tuple[int, ...], dtype: str, generator: np.random.Generator, below: int | None = None
) -> Array:
    """Floats from 0.1 to 1, bools, and integers from 0 to `below`, excluded: by default bytes of all values, of other
    integers 0 and 1."""
    if is_float(dtype):
        return np.asarray(generator.uniform(0.1, 1.0, shape), dtype)
    if dtype == "bool":
        return np.asarray(generator.integers(0, 2, shape), dtype)
    high = below or (256 if dtype == "uint8" else 2)
    return np.asarray(generator.integers(0, min(high, np.iinfo(dtype).max + 1), shape), dtype)


def made_up_arrays(
    graph: Graph, sizes: Mapping[str, int], generator: np.random.Generator, *, signed: bool = False
) -> list[Array]:
    """Arrays for a graph's inputs, then for its variables.

    Args:
        graph: before the passes.
        sizes: of all its symbols.
        generator: of the numbers.
        signed: make floats of inputs normal; where results are judged, a wrong sign must show.
    """
    bounds = _bounds(graph)
    arrays = []
    for position, entry in enumerate(graph.parameters):
        shape, dtype = concrete_shape(entry.value.type.shape, dict(sizes)), entry.value.type.dtype
        if signed and position < len(graph.inputs) and is_float(dtype):
            arrays.append(np.asarray(generator.normal(size=shape), dtype))
            continue
        extents = [evaluate(dim, sizes) for dim in bounds.get(entry.value, ())]
        arrays.append(made_up_array(shape, dtype, generator, min(extents, default=None)))
    return arrays


def _bounds(graph: Graph) -> dict[Value, list[Dim]]:
    """For each parameter that is looked up in tables, moved about or as it is, how long those tables are."""
    found: dict[Value, list[Dim]] = {}
    for origin, extent in _lookups(graph, {entry.value: entry.value for entry in graph.parameters}):
        found.setdefault(origin, []).append(extent)
    return found


def _lookups(graph: Graph, origins: dict[Value, Value]) -> Iterator[tuple[Value, Dim]]:
    """Pairs of a parameter and an extent that its numbers index; `origins`: what values are parameters moved about."""
    for node in graph.nodes:
        if node.op.name in _MOVES and node.inputs[0] in origins:
            origins[node.outputs[0]] = origins[node.inputs[0]]
        body = loop_body(node)
        if body is not None:
            pairs = zip(body.inputs, node.inputs, strict=False)
            inner = {entry.value: origins[value] for entry, value in pairs if value in origins}
            yield from _lookups(body, inner)
        indexed = _indexed(node)
        if indexed is not None and indexed[0] in origins:
            yield origins[indexed[0]], indexed[1]


def _indexed(node: Node) -> tuple[Value, Dim] | None:
    """The indices that an op reads, and the extent that they index."""
    if node.op.name == "take":
        return node.inputs[1], node.inputs[0].type.shape[node.op.fields["axis"]]
    if node.op.name == "scatter_add":
        return node.inputs[1], node.op.fields["extent"]
    return (node.inputs[0], node.op.fields["depth"]) if node.op.name == "one_hot" else None


def warmed_up(
    compiled: Compiled,
    sizes: Mapping[str, int],
    generator: np.random.Generator,
    variables: Iterable[Array] | None = None,
) -> tuple[list[Array], list[Array]]:
    """Inputs and variables on which a program has run until it has chosen its threads: the next run counts.

    Args:
        compiled: what ran.
        sizes: of all its symbols.
        generator: of the numbers.
        variables: values for the graph's variables in place of made-up ones; they are copied.
    """
    from runtime.profile import WARM_RUNS  # here, so that describing a model does not load LLVM

    arrays = made_up_arrays(compiled.traced, sizes, generator)
    count = len(compiled.traced.inputs)
    inputs, state = arrays[:count], arrays[count:]
    if variables is not None:
        state = [np.array(variable) for variable in variables]
    for _ in range(WARM_RUNS):
        compiled.executable.run(inputs, state)
    return inputs, state
