"""`simplify_loops` and `hoist_invariants`: loops compute and keep no more than is read."""

from __future__ import annotations

import pytest

from compiler.ops.scan import Scan
from compiler.passes.context import PassContext
from compiler.passes.hoist_invariants import hoist_invariants
from compiler.passes.simplify_loops import simplify_loops
from compiler.text import parse

LOOP = """
graph g {
  input %h "h": f32[n,3]
  input %x "x": f32[h,n,3]
  input %e "e": f32[h,n,3]
  input %u "u": f32[3,3]
  input %v "v": f32[3]
  %s: f32[h+1,n,3], %y: f32[h,n,3], %z: f32[h,n,3] = scan(%h, %x, %e, %u, %v) {ATTRIBUTES} {
    graph body {
      input %0 "h": f32[n,3]
      input %1 "x": f32[n,3]
      input %2 "e": f32[n,3]
      input %3 "u": f32[3,3]
      input %4 "v": f32[3]
      %5: f32[3,3] = transpose(%3) {permutation=(1, 0)}
      %6: f32[n,3] = matmul(%0, %5) {transpose_a=False, transpose_b=False}
      %7: f32[n,3] = add(%6, %1)
      %8: f32[3] = exp(%4)
      %9: f32[n,3] = broadcast(%8) {shape=(n, 3), axes=(1,)}
      %10: f32[n,3] = multiply(%7, %9)
      %11: f32[n,3] = tanh(%2)
      return "h"=%10
      return "y"=%10
      return "z"=%11
    }
  }
  %last: f32[1,n,3] = rows(%s) {start=h, stop=h+1}
  RESULTS
}
"""
LOOP = LOOP.replace("ATTRIBUTES", "states=1, sequences=2, count=h, kept=(True,), reverse=False, limited=False")
LAST = 'return "last"=%last'


def the_scan(graph) -> Scan:
    (scan,) = [node.op for node in graph.nodes if isinstance(node.op, Scan)]
    return scan


def simplified(check, results: str) -> Scan:
    return the_scan(check(simplify_loops, LOOP.replace("RESULTS", results)))


def test_a_state_of_which_the_last_value_is_read_is_not_kept(check):
    scan = simplified(check, LAST)
    assert scan.kept == (False,)
    assert scan.stacked == ()
    assert scan.sequences == 1, "nothing reads %e any more"


def test_a_stack_that_is_a_state_is_the_state(check):
    scan = simplified(check, f'return "y"=%y\n  {LAST}')
    assert scan.kept == (True,)
    assert scan.stacked == ()


def test_what_is_read_stays(check):
    scan = simplified(check, f'return "s"=%s\n  return "z"=%z\n  {LAST}')
    assert (scan.kept, len(scan.stacked), scan.sequences, scan.constants) == ((True,), 1, 2, 2)


def test_rows_of_anything_else_are_a_slice(check, operations):
    nodes = '%1: f32[2,n] = rows(%0) {start=1, stop=3}\n return "y"=%1'
    text = f'graph g {{\n input %0 "x": f32[5,n]\n {nodes}\n}}'
    assert operations(check(simplify_loops, text)) == ["slice"]


def test_what_is_the_same_at_every_step_is_computed_before(check, operations):
    result = check(hoist_invariants, LOOP.replace("RESULTS", f'return "s"=%s\n  {LAST}'))
    scan = the_scan(result)
    assert operations(result)[:3] == ["transpose", "exp", "scan"]
    assert operations(scan.body) == ["matmul", "add", "broadcast", "multiply", "tanh"], "a broadcast is free"
    assert scan.constants == 4


@pytest.mark.parametrize("pass_", [simplify_loops, hoist_invariants])
def test_a_graph_without_loops_stays(pass_):
    graph = parse('graph g {\n input %0 "x": f32[n]\n %1: f32[n] = exp(%0)\n return "y"=%1\n}')
    assert pass_(graph, PassContext()) is graph
