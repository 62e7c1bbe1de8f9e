"""Rebuilding a graph node by node: the shared machinery of passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.ir import Builder, Graph, Input, Node, Op, Value

Rule = Callable[[Builder, Node, tuple[Value, ...]], Sequence[Value] | None]


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """Rebuild `graph`, replacing nodes by what `rule(builder, node, new_inputs)` returns.

    A rule returns None to keep the node, or one value for each of its results. Nodes whose op and inputs
    are unchanged are reused as they are; the same graph object comes back if nothing changed.
    """
    b = Builder(graph.name)
    b.inputs, b.variables = list(graph.inputs), list(graph.variables)
    new: dict[Value, Value] = {entry.value: entry.value for entry in graph.parameters}
    changed = False
    for node in graph.nodes:
        inputs = tuple([new[value] for value in node.inputs])
        b.layer, b.source = node.layer, node.source
        results = rule(b, node, inputs)
        if results is None:
            results = keep(b, node, inputs)
        else:
            changed = True
        new.update(zip(node.outputs, results, strict=True))
    if not changed:
        return graph
    return finish(b, graph, new)


def keep(b: Builder, node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
    """Append `node` unchanged if its inputs are, else a copy with the new inputs."""
    if inputs == node.inputs:
        b.nodes.append(node)
        return node.outputs
    return b.emit_all(node.op, *inputs)


def finish(b: Builder, graph: Graph, new: dict[Value, Value]) -> Graph:
    """The rebuilt graph with the results of `graph` renamed through `new`."""
    return Graph(
        graph.name,
        tuple(b.inputs),
        tuple(b.variables),
        tuple(b.nodes),
        tuple((name, new[value]) for name, value in graph.outputs),
        tuple((name, new[value]) for name, value in graph.updates),
    )


def rebuild(
    graph: Graph, parameters: dict[Value, Value], change: Callable[[Op, tuple[Value, ...]], Op]
) -> Graph:
    """Emit every node anew over other parameters, so that all types are inferred again; those not named stay.

    `change` is given an op and its new inputs.
    """
    b = Builder(graph.name)
    new = {entry.value: parameters.get(entry.value, entry.value) for entry in graph.parameters}
    b.inputs = [Input(entry.name, new[entry.value]) for entry in graph.inputs]
    b.variables = [Input(entry.name, new[entry.value]) for entry in graph.variables]
    for node in graph.nodes:
        b.layer, b.source = node.layer, node.source
        inputs = tuple([new[value] for value in node.inputs])
        results = b.emit_all(change(node.op, inputs), *inputs)
        new.update(zip(node.outputs, results, strict=True))
    return finish(b, graph, new)
