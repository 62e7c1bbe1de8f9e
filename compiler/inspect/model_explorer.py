"""A graph as JSON for Model Explorer, Google's viewer of large graphs.

A file has a `label` and `graphs`, each with an `id` and `nodes`; a node has an `id`, a `label`, a `namespace` (layers
as folders), `attrs`, `incomingEdges` from (node, number of the result) to the number of an operand, `outputsMetadata`,
and `subgraphIds`, graphs that it leads to.
"""

from __future__ import annotations

import json
from typing import Any

from compiler.ir import Graph, Node, Value
from compiler.text import attributes_text

__all__ = ["model_explorer_data", "to_model_explorer"]

Data = dict[str, Any]


def to_model_explorer(graph: Graph) -> str:
    """The JSON text; bodies of groups and loops are graphs of their own, which their nodes lead to."""
    return json.dumps(model_explorer_data(graph), indent=1) + "\n"


def model_explorer_data(graph: Graph) -> Data:
    """What `to_model_explorer` writes, as dicts and lists."""
    graphs: list[Data] = []
    _add_graph(graphs, graph, graph.name or "graph")
    return {"label": graph.name, "graphs": graphs}


def _add_graph(graphs: list[Data], graph: Graph, name: str) -> None:
    made: dict[Value, tuple[str, str]] = {}
    data: Data = {"id": name, "nodes": []}
    graphs.append(data)
    nodes: list[Data] = data["nodes"]
    for kind, entries in (("inputs", graph.inputs), ("variables", graph.variables)):
        for entry in entries:
            made[entry.value] = (str(len(nodes)), "0")
            nodes.append(_node(len(nodes), entry.name, kind, {}, (), made, (entry.value,)))
    for node in graph.nodes:
        made.update({value: (str(len(nodes)), str(value.index)) for value in node.outputs})
        nodes.append(_op_node(graphs, node, len(nodes), name, made))
    for kind, results in (("outputs", graph.outputs), ("updates", graph.updates)):
        for title, value in results:
            nodes.append(_node(len(nodes), title, kind, {}, (value,), made, ()))


def _op_node(graphs: list[Data], node: Node, number: int, name: str, made: dict[Value, tuple[str, str]]) -> Data:
    known = {"attributes": attributes_text(node.op), "layer": node.layer, "source": node.source}
    attributes = {key: value for key, value in known.items() if value}
    found = _node(number, node.op.name, node.layer, attributes, node.inputs, made, node.outputs)
    body = node.op.fields.get("body")
    if isinstance(body, Graph):
        inner = f"{name}/{number} {node.op.name}"
        found["subgraphIds"] = [inner]
        _add_graph(graphs, body, inner)
    return found


def _node(
    number: int,
    label: str,
    namespace: str,
    attributes: dict[str, str],
    reads: tuple[Value, ...],
    made: dict[Value, tuple[str, str]],
    results: tuple[Value, ...],
) -> Data:
    return {
        "id": str(number),
        "label": label,
        "namespace": namespace,
        "attrs": [{"key": key, "value": value} for key, value in attributes.items()],
        "incomingEdges": [
            {"sourceNodeId": made[value][0], "sourceNodeOutputId": made[value][1], "targetNodeInputId": str(position)}
            for position, value in enumerate(reads)
        ],
        "outputsMetadata": [
            {"id": str(value.index), "attrs": [{"key": "tensor_shape", "value": str(value.type)}]}
            for value in results
        ],
    }
