"""`eliminate_dead_code`: nodes that no result needs go; the signature stays."""

from __future__ import annotations

from compiler.passes.context import PassContext
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.text import parse


def test_a_chain_that_nobody_reads_goes(check):
    check(
        eliminate_dead_code,
        """
        graph g {
          input %x "x": f32[n]
          input %unused "unused": f32[3]
          %a: f32[n] = exp(%x)
          %b: f32[n] = log(%a)
          %c: f32[n] = tanh(%b)
          %y: f32[n] = sqrt(%a)
          return "y"=%y
        }
        """,
        golden="dead_chain",
    )


def test_what_an_update_needs_stays(check, operations):
    result = check(
        eliminate_dead_code,
        """
        graph g {
          variable %v "v": f32[3]
          %a: f32[3] = negative(%v)
          %b: f32[3] = exp(%v)
          update "v"=%a
        }
        """,
    )
    assert operations(result) == ["negative"]


def test_one_needed_result_keeps_a_node_with_several(check, operations):
    result = check(
        eliminate_dead_code,
        """
        graph g {
          input %x "x": f32[n,3]
          input %c "c": f32[3]
          %y: f32[n,3], %m: f32[3], %v: f32[3] = batch_normalization(%x, %c, %c) {axis=1}
          return "m"=%m
        }
        """,
    )
    assert operations(result) == ["batch_normalization"]


def test_nothing_dead_gives_the_same_graph():
    graph = parse('graph g {\n input %x "x": f32[4]\n %y: f32[4] = exp(%x)\n return "y"=%y\n}')
    assert eliminate_dead_code(graph, PassContext()) is graph
