"""The pipeline: passes in order, verified, watched by hooks; its errors say where they happened."""

from __future__ import annotations

import dataclasses

import pytest

from compiler.ir import Graph
from compiler.passes.canonicalize import canonicalize
from compiler.passes.context import PassContext
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.pipeline import PIPELINE, run_pipeline
from compiler.text import parse, to_text
from compiler.verify import VerifyError

GRAPH = """graph g {
  input %x "x": f32[n,3]
  %zero: f32[n,3] = full() {shape=(n,3), value=0.0}
  %a: f32[n,3] = add(%x, %zero)
  %b: f32[n,3] = tanh(%a)
  %unused: f32[n,3] = exp(%b)
  return "y"=%b
}"""


def lose_a_node(graph: Graph, context: PassContext) -> Graph:
    return dataclasses.replace(graph, nodes=graph.nodes[1:])


def give_up(graph: Graph, context: PassContext) -> Graph:
    raise RuntimeError("out of ideas")


def test_the_order_is_one_readable_tuple():
    names = [pass_.__name__ for pass_ in PIPELINE]
    assert names[0] == "infer_shapes"
    assert names[-4:] == ["fuse", "limit_kernels", "schedule", "plan_memory"]
    assert names.index("differentiate") < names.index("decompose") < names.index("canonicalize")


def test_the_graph_given_stays_as_it_is():
    graph = parse(GRAPH)
    before = to_text(graph)
    context = PassContext()
    result = run_pipeline(graph, context)
    assert to_text(graph) == before
    assert context.memory is not None
    assert [node.op.name for node in result.nodes] == ["fused"]


def test_a_failure_names_the_pass_those_before_it_and_the_graph():
    with pytest.raises(RuntimeError, match="out of ideas") as caught:
        run_pipeline(parse(GRAPH), passes=(canonicalize, eliminate_dead_code, give_up))
    (note,) = caught.value.__notes__
    assert note.startswith("in pass 'give_up' (after canonicalize, eliminate_dead_code), on:\ngraph g {")
    assert "tanh" in note
    assert "exp" not in note, "the graph the pass worked on, not the one given"


def test_every_pass_is_verified():
    with pytest.raises(VerifyError, match="before it exists") as caught:
        run_pipeline(parse(GRAPH), passes=(lose_a_node,))
    assert caught.value.__notes__[0].startswith("in pass 'lose_a_node' (after none)")


def test_the_graph_given_is_verified_first():
    with pytest.raises(VerifyError):
        run_pipeline(lose_a_node(parse(GRAPH), PassContext()))
