"""A graph to look at: as traced, or as the passes left it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.inspect.operations import contraction_flops, ops_of
from compiler.inspect.sheet import Sheet
from compiler.inspect.stage import Stage
from compiler.ir import Graph, Node, Value
from compiler.text import attributes_text, to_text
from compiler.types import TensorType
from runtime.dimensions import Dim

if TYPE_CHECKING:
    import networkx

__all__ = ["GraphStage", "dim_data", "graph_data", "type_data"]


def dim_data(dim: Dim) -> int | str:
    """A size as plain data: a number, or the text of one that depends on symbols."""
    return dim if isinstance(dim, int) else str(dim)


def type_data(type_: TensorType) -> dict[str, Any]:
    """A tensor's type as plain data."""
    return {"dtype": type_.dtype, "shape": [dim_data(dim) for dim in type_.shape], "text": str(type_)}


def graph_data(graph: Graph) -> dict[str, Any]:
    """A graph as plain data: values by the numbers that its text gives them, bodies of nodes as graphs of their own.

    Constants are left out but for what the text says of them.
    """
    number: dict[Value, int] = {}
    entries: dict[str, list[dict[str, Any]]] = {"inputs": [], "variables": []}
    for kind, given in (("inputs", graph.inputs), ("variables", graph.variables)):
        for entry in given:
            place = number[entry.value] = len(number)
            entries[kind].append({"value": place, "name": entry.name, "type": type_data(entry.value.type)})
    nodes = [_node_data(node, position, number) for position, node in enumerate(graph.nodes)]
    results = {
        kind: [{"name": name, "value": number[value]} for name, value in given]
        for kind, given in (("outputs", graph.outputs), ("updates", graph.updates))
    }
    return {"name": graph.name, **entries, "nodes": nodes, **results, "flops": dim_data(contraction_flops(graph))}


def _node_data(node: Node, position: int, number: dict[Value, int]) -> dict[str, Any]:
    for value in node.outputs:
        number[value] = len(number)
    data = {
        "position": position,
        "op": node.op.name,
        "attributes": attributes_text(node.op),
        "inputs": [number[value] for value in node.inputs],
        "outputs": [{"value": number[value], "type": type_data(value.type)} for value in node.outputs],
        "layer": node.layer,
        "source": node.source,
    }
    body = node.op.fields.get("body")
    return data | {"body": graph_data(body)} if isinstance(body, Graph) else data


class GraphStage(Stage):
    """A graph: `traced` or `optimized`."""

    def __init__(self, name: str, graph: Graph) -> None:
        self.name = name
        self.graph = graph

    def __repr__(self) -> str:
        return f"<{self.name}: {self.graph!r}>"

    def __str__(self) -> str:
        return self.text(pretty=True)

    def text(self, *, sources: bool = True, pretty: bool = False) -> str:
        """The text form, which `compiler.text.parse` reads.

        Args:
            sources: with the user's files and lines.
            pretty: the form for people: values by names, attributes that differ from their defaults.
        """
        return to_text(self.graph, sources=sources, pretty=pretty)

    def to_dict(self) -> dict[str, Any]:
        """See `Stage.to_dict` and `graph_data`."""
        return {"stage": self.name, "graph": graph_data(self.graph)}

    def to_networkx(self) -> networkx.MultiDiGraph[Any]:
        """For analyses; see `compiler.inspect.to_networkx`."""
        from compiler.inspect.export import to_networkx

        return to_networkx(self.graph)

    def to_dot(self) -> str:
        """For Graphviz; see `compiler.inspect.to_dot`."""
        from compiler.inspect.export import to_dot

        return to_dot(self.graph)

    def to_model_explorer(self) -> str:
        """For Model Explorer; see `compiler.inspect.to_model_explorer`."""
        from compiler.inspect.model_explorer import to_model_explorer

        return to_model_explorer(self.graph)

    def sheet(self) -> Sheet:
        """A row for each node."""
        number = {entry.value: position for position, entry in enumerate(self.graph.parameters)}
        rows = []
        for node in self.graph.nodes:
            for value in node.outputs:
                number[value] = len(number)
            rows.append((
                ", ".join(f"%{number[value]}" for value in node.outputs),
                ", ".join(str(value.type) for value in node.outputs),
                _operation(node),
                ", ".join(f"%{number[value]}" for value in node.inputs),
                node.layer,
                node.source,
            ))
        counts = (f"{len(entries)} {kind}" for kind, entries in _counts(self.graph))
        title = f"{self.name}: graph {self.graph.name}, {', '.join(counts)}"
        return Sheet(title, ("Value", "Type", "Operation", "Reads", "Layer", "Source"), tuple(rows))


def _counts(graph: Graph) -> tuple[tuple[str, tuple[object, ...]], ...]:
    return (
        ("inputs", graph.inputs),
        ("variables", graph.variables),
        ("nodes", graph.nodes),
        ("outputs", graph.outputs),
        ("updates", graph.updates),
    )


def _operation(node: Node) -> str:
    """An op with its attributes; a group or loop with the ops it holds."""
    body = node.op.fields.get("body")
    if isinstance(body, Graph):
        return f"{node.op.name}[{', '.join(ops_of(body))}]"
    text = attributes_text(node.op)
    return f"{node.op.name} {{{text}}}" if text else node.op.name
