"""`simplify_loops` and `hoist_invariants`: loops compute and keep no more than is read."""

from __future__ import annotations

import numpy as np
import pytest

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.ir import Builder
from compiler.ops.scan import Scan
from compiler.passes.context import PassContext
from compiler.passes.differentiate import emit_gradient
from compiler.passes.hoist_invariants import hoist_invariants
from compiler.passes.simplify_loops import simplify_loops
from compiler.text import parse
from compiler.types import TensorType

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


def test_a_stack_of_a_limited_loop_is_no_state(check, check_compiled):
    # Beyond the limit a stack is zero, and the state what it was.
    limited = LOOP.replace('input %u "u"', 'input %n "n": i32[]\n  input %u "u"').replace("%u, %v)", "%u, %v, %n)")
    limited = limited.replace("limited=False", "limited=True").replace("RESULTS", f'return "y"=%y\n  {LAST}')
    scan = the_scan(check(simplify_loops, limited))
    assert scan.kept == (False,)
    assert len(scan.stacked) == 1
    for seed in range(3):  # of %n among others
        check_compiled(limited, seed=seed)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [0, 3, 5, 9])
def test_a_state_that_is_stacked_up_to_a_limit(reverse, limit):
    body = Builder("sum")
    h, entry = (body.input(name, TensorType((2,))) for name in "hx")
    new = f.add(body, h, entry)
    for name in "hy":
        body.output(name, new)
    b = Builder("g")
    x, n = b.input("x", TensorType((5, 2))), b.input("n", TensorType((), "int32"))
    found = f.scan(b, body.build(), [f.full(b, (2,), 0.0)], [x], reverse=reverse, limit=n)
    loss = f.reduce_sum(b, f.multiply(b, found.stacks[0], found.stacks[0]))
    results = (*found.stacks, *found.after, *emit_gradient(b, loss, [x]))
    for name, value in zip(("y", "after", "dx"), results, strict=True):
        b.output(name, value)
    given = np.arange(10, dtype="float32").reshape(5, 2) + 1
    y, after, dx = compile_graph(b.build()).executable.run([given, np.array(limit, "int32")], [])
    steps = min(limit, 5)
    order = slice(None, None, -1) if reverse else slice(None)
    sums = given[:steps][order].cumsum(0)[order]
    np.testing.assert_array_equal(y, [*sums, *[[0, 0]] * (5 - steps)])
    rest = sums[-1] if steps and not reverse else [0, 0]
    np.testing.assert_array_equal(after, [*sums, *[rest] * (5 - steps)])
    back = slice(None) if reverse else slice(None, None, -1)
    np.testing.assert_array_equal(dx, [*(2 * sums[back].cumsum(0)[back]), *[[0, 0]] * (5 - steps)])


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
