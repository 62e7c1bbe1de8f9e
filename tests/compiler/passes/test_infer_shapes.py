"""`infer_shapes`: types follow from the inputs' types by each op's own rule."""

from __future__ import annotations

import pytest

from compiler.ir import Value
from compiler.ops.binding import bind_graph
from compiler.passes.context import PassContext
from compiler.passes.infer_shapes import infer_shapes
from compiler.text import parse, to_text
from compiler.types import parse_type
from compiler.verify import VerifyError, verify

GRAPH = """
graph g {
  input %x "x": f32[n,8]
  input %w "w": f32[8,3]
  %y: f32[n,3] = matmul(%x, %w)
  %z: f32[3,n] = transpose(%y) {permutation=(1,0)}
  return "z"=%z
}
"""


def test_a_typed_graph_comes_back_itself(check):
    graph = parse(GRAPH)
    assert infer_shapes(graph, PassContext()) is graph
    check(infer_shapes, GRAPH)


def test_stale_types_are_replaced_downstream():
    graph = parse(GRAPH)
    product = graph.nodes[0]
    product.outputs = (Value(parse_type("f32[n,4]"), product, 0),)  # as an importer might declare it
    graph.nodes[1].inputs = product.outputs
    with pytest.raises(VerifyError, match="matmul"):
        verify(graph)
    result = infer_shapes(graph, PassContext())
    verify(result)
    assert to_text(result) == to_text(parse(GRAPH))


def test_types_follow_bound_symbols():
    bound = bind_graph(parse(GRAPH), {"n": 2})
    assert [str(node.outputs[0].type) for node in bound.nodes] == ["f32[2,3]", "f32[3,2]"]
    assert infer_shapes(bound, PassContext()) is bound


def test_an_inconsistent_graph_is_refused():
    graph = parse(GRAPH)
    graph.nodes[0].inputs = (graph.inputs[1].value, graph.inputs[1].value)
    with pytest.raises(ValueError, match="matmul"):
        infer_shapes(graph, PassContext())
