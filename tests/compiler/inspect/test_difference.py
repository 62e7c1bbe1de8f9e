"""What differs between two graphs: nothing for other names and another order; every kind of change by name."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs
from random_loops import loops

from compiler.inspect.difference import difference
from compiler.ir import Graph
from compiler.passes.context import PassContext
from compiler.passes.fuse import fuse
from compiler.text import parse, to_text

GRAPH = """graph g {
  input %x "x": f32[n,4]
  variable %w "w": f32[4,4]
  %a = matmul(%x, %w) @"dense" #"a.py:1"
  %b = tanh(%a) @"dense"
  %c = exp(%x)
  %d = add(%b, %c)
  %s = reduce_sum(%d) {axes=(1,)}
  return "s"=%s
  update "w"=%w
}"""


def changes(after: str, before: str = GRAPH) -> list[tuple[str, str]]:
    found = difference(parse(before), parse(after))
    return [(change.kind, change.subject) for change in found.changes]


def text_of(after: str) -> str:
    return str(difference(parse(GRAPH), parse(after)))


def shuffled(draw: st.DrawFn, graph: Graph) -> Graph:
    """The nodes in another order that computes everything before it is read."""
    waiting, known, order = list(graph.nodes), {entry.value for entry in graph.parameters}, []
    while waiting:
        node = draw(st.sampled_from([node for node in waiting if known.issuperset(node.inputs)]))
        waiting.remove(node)
        known.update(node.outputs)
        order.append(node)
    return dataclasses.replace(graph, nodes=tuple(order))


@settings(max_examples=60, deadline=None)
@given(graph=graphs(gradients=False), data=st.data())
def test_no_order_and_no_name_makes_a_difference(graph, data):
    other = parse(to_text(shuffled(data.draw, graph), pretty=True, sources=False))
    assert not difference(graph, other)
    fused = fuse(graph, PassContext())
    assert not difference(fused, parse(to_text(fused)))


@settings(max_examples=30, deadline=None)
@given(graph=loops(), data=st.data())
def test_no_order_and_no_name_makes_a_difference_to_loops(graph, data):
    assert not difference(graph, parse(to_text(shuffled(data.draw, graph), pretty=True)))


@settings(max_examples=60, deadline=None)
@given(graph=graphs(gradients=False), data=st.data())
def test_each_changed_layer_or_lost_result_is_a_difference(graph, data):
    at = data.draw(st.integers(0, len(graph.nodes) - 1)) if graph.nodes else None
    if at is None:
        return
    text = to_text(graph)
    changed = parse(text)
    changed.nodes[at].layer = "elsewhere"
    found = difference(graph, changed)
    assert {change.kind for change in found.changes} == {"changed"}
    details = [detail for change in found.changes for detail in change.details]
    assert f"layer '{graph.nodes[at].layer}' -> 'elsewhere'" in details
    assert difference(graph, dataclasses.replace(graph, outputs=graph.outputs[1:]))


def test_independent_nodes_may_stand_anywhere_and_sources_do_not_count():
    lines = GRAPH.replace("a.py:1", "b.py:7").splitlines()
    lines.insert(3, lines.pop(5))
    assert changes("\n".join(lines)) == []


def test_of_two_nodes_that_compute_the_same_either_will_do():
    twice = GRAPH.replace("%c = exp(%x)", "%c = exp(%x)\n  %c2 = exp(%x)")
    assert changes(twice.replace("add(%b, %c)", "add(%b, %c2)"), before=twice) == []


def test_a_changed_attribute_is_one_change():
    assert text_of(GRAPH.replace("axes=(1,)", "axes=(0,)")) == (
        "~ %6: f32[n] = reduce_sum(%5) {axes=(1,)}\n"
        "    attributes {axes=(1,)} -> {axes=(0,)}\n"
        "    type f32[n] -> f32[4]\n"
    )


def test_a_replaced_op_is_removed_and_added_and_its_reader_changed():
    assert text_of(GRAPH.replace("exp", "log")) == (
        '- %4: f32[n,4] = exp("x")\n'
        "~ %5: f32[n,4] = add(%3, %4)\n"
        '    operand 1: %4 = exp("x") -> %4 = log("x")\n'
        '+ %4: f32[n,4] = log("x")\n'
    )


def test_an_operand_taken_from_elsewhere():
    assert text_of(GRAPH.replace("add(%b, %c)", "add(%c, %c)")) == (
        "~ %5: f32[n,4] = add(%3, %4)\n    operand 0: %3 = tanh(%2) -> %4 = exp(\"x\")\n"
    )


def test_inputs_variables_and_results():
    assert changes(GRAPH.replace('return "s"=%s', 'return "t"=%s\n  return "b"=%b')) == [
        ("removed", 'return "s"'),
        ("added", 'return "t"'),
        ("added", 'return "b"'),
    ]
    assert ("changed", 'update "w"') in changes(GRAPH.replace('update "w"=%w', 'update "w"=%v').replace(
        "%a = matmul", "%v = exp(%w)\n  %a = matmul"))  # fmt: skip
    more = GRAPH.replace("%a = ", 'input %z "z": f32[]\n  %a = ')
    assert changes(more) == [("added", 'input "z": f32[]')]
    assert ("changed", 'input "x"') in changes(GRAPH.replace("f32[n,4]", "f32[8,4]"))


def test_what_differs_inside_a_body_is_said():
    body = """graph g {
      input %x "x": f32[3]
      %y: f32[3] = fused(%x) {
        graph body {
          input %0 "x0": f32[3]
          %1 = exp(%0)
          %2 = tanh(%0)
          %3 = add(%1, %2)
          return "y0"=%3
        }
      }
      return "y"=%y
    }"""
    swapped = body.replace("%1 = exp(%0)\n          %2 = tanh(%0)", "%2 = tanh(%0)\n          %1 = exp(%0)")
    assert swapped != body
    assert not difference(parse(body), parse(swapped))
    found = difference(parse(body), parse(body.replace("tanh", "sigmoid")))
    (change,) = found.changes
    assert change.details[0] == 'body: - %2: f32[3] = tanh("x0")'


def test_equal_nodes_are_counted():
    twice = GRAPH.replace("%c = exp(%x)", "%c = exp(%x)\n  %c2 = exp(%x)")
    assert changes(twice) == [("added", '%5: f32[n,4] = exp("x")')]
    assert changes(GRAPH, before=twice) == [("removed", '%5: f32[n,4] = exp("x")')]
