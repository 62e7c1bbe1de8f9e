"""Kernels that do not depend on each other are brought side by side where that costs no memory."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from random_graphs import graphs

from compiler.ir import Graph, Node
from compiler.passes.context import PassContext
from compiler.passes.fuse import fuse
from compiler.passes.schedule import late_updates, live_peak, schedule
from compiler.passes.side_by_side import count_phases, side_by_side
from compiler.pipeline import run_pipeline
from compiler.storage import is_kernel
from compiler.text import parse

# Two chains of three products each, one after the other.
CHAINS = """
graph chains {
  input %x: f32[8,8]
  input %y: f32[8,8]
  %a: f32[8,8] = matmul(%x, %x) @"a"
  %b: f32[8,8] = matmul(%a, %x) @"b"
  %c: f32[8,8] = matmul(%b, %x) @"c"
  %d: f32[8,8] = matmul(%y, %y) @"d"
  %e: f32[8,8] = matmul(%d, %y) @"e"
  %f: f32[8,8] = matmul(%e, %y) @"f"
  return "c"=%c
  return "f"=%f
}
"""

# What the last product needs could be made beside the first ones, and would then be alive beside the largest value.
LARGE = """
graph large {
  input %x: f32[8,8]
  input %u: f32[1000,8]
  input %v: f32[8,2000]
  input %w: f32[2000,8]
  %a: f32[8,8] = matmul(%x, %x) @"a"
  %b: f32[8,8] = matmul(%a, %x) @"b"
  %c: f32[8,2000] = matmul(%b, %v) @"c"
  %d: f32[8,8] = matmul(%c, %w) @"d"
  %e: f32[1000,8] = matmul(%u, %x) @"e"
  %f: f32[1000,8] = matmul(%e, %x) @"f"
  %g: f32[1000,8] = matmul(%f, %d) @"g"
  return "g"=%g
}
"""


def before(nodes: tuple[Node, ...]) -> dict[Node, set[Node]]:
    return {node: {value.node for value in node.inputs if value.node is not None} for node in nodes}


def phases(graph: Graph) -> int:
    return count_phases(graph.nodes, before(graph.nodes))


@pytest.mark.parametrize(
    ("window", "order", "number"), [(1, "abcdef", 5), (3, "abdcef", 4), (4, "adbecf", 3), (16, "adbecf", 3)]
)
def test_a_phase_takes_what_it_finds_within_its_window(window, order, number):
    nodes = fuse(parse(CHAINS), PassContext()).nodes
    found = side_by_side(nodes, before(nodes), window)
    assert "".join(node.layer for node in found) == order
    assert count_phases(found, before(nodes)) == number


def test_the_schedule_has_the_fewer_phases():
    graph = schedule(fuse(parse(CHAINS), PassContext()), PassContext())
    assert phases(graph) == 3


def test_no_order_that_keeps_more_alive_is_taken():
    fused = fuse(parse(LARGE), PassContext())
    together = side_by_side(fused.nodes, before(fused.nodes), 16)
    assert count_phases(together, before(fused.nodes)) < phases(fused)
    assert live_peak(dataclasses.replace(fused, nodes=together)) > live_peak(fused)
    assert live_peak(schedule(fused, PassContext())) <= live_peak(fused)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(gradients=True))
def test_nothing_comes_before_what_it_needs(graph):
    fused = run_pipeline(graph)
    waits = before(fused.nodes)
    for window in (1, 3, 16):
        found = side_by_side(fused.nodes, waits, window)
        assert sorted(map(id, found)) == sorted(map(id, fused.nodes))
        at = {node: position for position, node in enumerate(found)}
        assert all(at[other] < at[node] for node in found for other in waits[node])
        assert count_phases(found, waits) <= sum(map(is_kernel, found))
    assert not late_updates(fused)
