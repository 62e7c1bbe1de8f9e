"""A graph as a networkx digraph, for analyses, and as DOT text, for drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.ir import Graph, Value
from compiler.text import attributes_text

if TYPE_CHECKING:
    import networkx


def to_networkx(graph: Graph) -> networkx.MultiDiGraph[Any]:
    """One vertex for each input, variable and node, one edge for each use of a value.

    Vertices are integers in execution order, inputs and variables first, with the attributes `label`, `kind`
    ("input", "variable" or "op"), `layer` and `text`; edges have `type` (as text) and `position` (which operand).
    """
    import networkx  # here, since most who look at a graph need no analyses

    drawing: networkx.MultiDiGraph[Any] = networkx.MultiDiGraph(name=graph.name)
    vertex: dict[Value, int] = {}
    for kind, entries in (("input", graph.inputs), ("variable", graph.variables)):
        for entry in entries:
            vertex[entry.value] = len(drawing)
            drawing.add_node(len(drawing), label=entry.name, kind=kind, layer="", text=str(entry.value.type))
    for node in graph.nodes:
        here = len(drawing)
        drawing.add_node(here, label=node.op.name, kind="op", layer=node.layer, text=attributes_text(node.op))
        for position, value in enumerate(node.inputs):
            drawing.add_edge(vertex[value], here, type=str(value.type), position=position)
        vertex.update(dict.fromkeys(node.outputs, here))
    return drawing


def to_dot(graph: Graph) -> str:
    """The graph in the DOT language (Gansner and North 2000), for Graphviz and its readers."""
    drawing = to_networkx(graph)
    lines = [f"digraph {quoted(graph.name)} {{", "  node [shape=box, fontname=monospace];"]
    shapes = {"input": "ellipse", "variable": "cylinder", "op": "box"}
    for vertex, data in drawing.nodes(data=True):
        title = "\n".join(part for part in (data["label"], data["layer"]) if part)
        lines.append(f"  n{vertex} [label={quoted(title)}, shape={shapes[data['kind']]}];")
    for start, end, data in drawing.edges(data=True):
        lines.append(f"  n{start} -> n{end} [label={quoted(data['type'])}];")
    return "\n".join([*lines, "}"]) + "\n"


def quoted(text: str) -> str:
    """A text as DOT writes it: nothing in it ends the quotes or is an escape."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
