"""`verify`: the rules of the IR, one broken graph each."""

from __future__ import annotations

import dataclasses

import pytest

from compiler.ir import Graph, Input, Value
from compiler.ops.fused import Fused
from compiler.text import parse
from compiler.types import parse_type
from compiler.verify import VerifyError, verify


def good() -> Graph:
    return parse(
        """graph g {
          input %x "x": f32[n,3]
          variable %v "v": f32[n,3]
          %a: f32[n,3] = add(%x, %v)
          %b: f32[n,3] = exp(%a)
          return "y"=%b
          update "v"=%a
        }"""
    )


def test_a_good_graph_passes():
    verify(good())


def broken_order(graph: Graph) -> Graph:
    return dataclasses.replace(graph, nodes=graph.nodes[::-1])


def broken_twice(graph: Graph) -> Graph:
    return dataclasses.replace(graph, nodes=(*graph.nodes, graph.nodes[1]))


def broken_type(graph: Graph) -> Graph:
    node = graph.nodes[1]
    node.outputs = (Value(parse_type("f32[n,4]"), node, 0),)
    return dataclasses.replace(graph, outputs=(("y", node.outputs[0]),))


def broken_result(graph: Graph) -> Graph:
    return dataclasses.replace(graph, outputs=(("y", Value(parse_type("f32[n,3]"))),))


def broken_names(graph: Graph) -> Graph:
    return dataclasses.replace(graph, inputs=(Input("v", graph.inputs[0].value),))


def broken_input(graph: Graph) -> Graph:
    return dataclasses.replace(graph, inputs=(Input("x", graph.nodes[0].outputs[0]),))


def broken_update(graph: Graph) -> Graph:
    return dataclasses.replace(graph, updates=(("x", graph.nodes[0].outputs[0]),))


def broken_updates(graph: Graph) -> Graph:
    return dataclasses.replace(graph, updates=graph.updates * 2)


def broken_update_type(graph: Graph) -> Graph:
    other = parse('graph h {\ninput %x "x": f32[2]\nvariable %v "v": f32[3]\nreturn "y"=%x\n}')
    return dataclasses.replace(other, updates=(("v", other.inputs[0].value),))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (broken_order, "'exp' .* uses input 0 before it exists"),
        (broken_twice, "'exp' .* stands in the graph twice"),
        (broken_type, r"'exp' .* is typed f32\[n,4\], its rule says f32\[n,3\]"),
        (broken_result, "result 'y' of 'g' is not computed in it"),
        (broken_names, "two inputs or variables of 'g' are named 'v'"),
        (broken_input, "input 'x' of 'g' is computed by 'add'"),
        (broken_update, "update of 'x', which is no variable"),
        (broken_updates, "variable 'v' is updated twice"),
        (broken_update_type, r"update of 'v' has type f32\[2\], the variable f32\[3\]"),
    ],
)
def test_a_broken_graph_is_refused(break_it, message):
    graph = break_it(good())
    with pytest.raises(VerifyError, match=message):
        verify(graph)


def test_bodies_are_verified_too():
    body = parse('graph body {\ninput %x "x0": f32[3]\n%y: f32[3] = exp(%x)\nreturn "y0"=%y\n}')
    text = 'graph g {\ninput %x "x": f32[3]\n%y: f32[3] = exp(%x)\nreturn "y"=%y\n}'
    graph = parse(text)
    graph.nodes[0].op = Fused(body)
    verify(graph)
    body.nodes[0].outputs = (Value(parse_type("f32[3]"), body.nodes[0], 0),)  # the body's result is another value now
    with pytest.raises(VerifyError, match="result 'y0' of 'body'"):
        verify(graph)
