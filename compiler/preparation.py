"""Which kernels run once and not at every run: those that depend on nothing but constants and variables that the
program leaves as they are.

Packed and transformed weights, or scales and shifts made of a layer's statistics, are the same at every prediction.
Such kernels come first, what others read of them stays in memory for good, and the runtime runs them again only after
one of the variables has changed (`runtime.contents`). Their sizes must be numbers: what depends on the batch would
have to be made for every size of it.
"""

from __future__ import annotations

from compiler.ir import Fusion, Graph, Node, Value
from compiler.ops.binding import attribute_symbols
from compiler.storage import is_kernel, root_of
from compiler.types import symbols_of_type

__all__ = ["kept_values", "prepared_first", "prepared_nodes"]


def prepared_nodes(graph: Graph) -> frozenset[Node]:
    """The kernels of a fused graph that are run once, with the aliases and constants that they read.

    Empty if there is no such kernel.
    """
    updated = {name for name, _ in graph.updates}
    stable: set[Value] = {entry.value for entry in graph.variables if entry.name not in updated}
    results = {root_of(value) for value in graph.results}
    found: set[Node] = set()
    for node in graph.nodes:
        if not all(value in stable for value in node.inputs):
            continue
        if is_kernel(node) and not _may_be_prepared(node, results):
            continue
        found.add(node)
        stable.update(node.outputs)
    return frozenset(found) if any(is_kernel(node) for node in found) else frozenset()


def _may_be_prepared(node: Node, results: set[Value]) -> bool:
    """An output or a variable's new value is written at every run, and symbols have other values in another one."""
    if node.op.fusion is Fusion.LOOP:
        return False
    values = (*node.inputs, *node.outputs)
    if attribute_symbols(node.op):  # a size, such as the 1/batch of a mean, may be read where no shape shows it
        return False
    return results.isdisjoint(node.outputs) and not any(symbols_of_type(value.type) for value in values)


def prepared_first(nodes: tuple[Node, ...], prepared: frozenset[Node]) -> tuple[Node, ...]:
    """The same nodes, those that are prepared first, otherwise in the same order."""
    if not prepared:
        return nodes
    return (*(node for node in nodes if node in prepared), *(node for node in nodes if node not in prepared))


def kept_values(graph: Graph) -> frozenset[Value]:
    """What prepared kernels make and others read: it must outlive every run."""
    prepared = prepared_nodes(graph)
    made = {value for node in prepared if is_kernel(node) for value in node.outputs}
    read = {root_of(value) for node in graph.nodes if node not in prepared and is_kernel(node) for value in node.inputs}
    return frozenset(made & read)
