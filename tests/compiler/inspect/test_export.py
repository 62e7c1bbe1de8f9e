from __future__ import annotations

import networkx

from compiler.inspect import to_dot, to_networkx
from compiler.pipeline import run_pipeline
from compiler.text import parse

GRAPH = parse("""
graph example {
  input %0 "x": f32[n,3]
  variable %1 "w": f32[3,2]
  %2: f32[n,2] = matmul(%0, %1) {transpose_a=False, transpose_b=False} @"dense"
  %3: f32[n,2] = add(%2, %2) @"double"
  return "y"=%3
}
""")


def test_vertices_and_edges_follow_the_graph() -> None:
    drawing = to_networkx(GRAPH)
    assert [data["label"] for _, data in drawing.nodes(data=True)] == ["x", "w", "matmul", "add"]
    assert sorted(drawing.edges()) == [(0, 2), (1, 2), (2, 3), (2, 3)]
    assert drawing.nodes[2]["layer"] == "dense"


def test_an_optimized_graph_has_no_cycle() -> None:
    assert networkx.is_directed_acyclic_graph(to_networkx(run_pipeline(GRAPH)))


def test_dot_names_every_vertex_and_type() -> None:
    text = to_dot(GRAPH)
    assert text.startswith('digraph "example" {')
    assert 'n2 [label="matmul\\ndense", shape=box];' in text
    assert 'n0 -> n2 [label="f32[n,3]"];' in text
