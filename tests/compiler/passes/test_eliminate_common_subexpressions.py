"""`eliminate_common_subexpressions`: one node for the same op, attributes and inputs."""

from __future__ import annotations

from compiler.passes.context import PassContext
from compiler.passes.eliminate_common_subexpressions import eliminate_common_subexpressions
from compiler.text import parse


def test_equal_nodes_merge_and_so_do_their_readers(check):
    check(
        eliminate_common_subexpressions,
        """
        graph g {
          input %x "x": f32[n]
          %a: f32[n] = exp(%x) @"first"
          %b: f32[n] = exp(%x) @"second"
          %c: f32[n] = tanh(%a)
          %d: f32[n] = tanh(%b)
          %y: f32[n] = add(%c, %d)
          return "y"=%y
        }
        """,
        golden="cse_chain",
    )


def test_attributes_tell_nodes_apart(check, operations):
    result = check(
        eliminate_common_subexpressions,
        """
        graph g {
          input %x "x": f32[n,3]
          %a: f32[3] = reduce_sum(%x) {axes=(0,)}
          %b: f32[n] = reduce_sum(%x) {axes=(1,)}
          return "a"=%a
          return "b"=%b
        }
        """,
    )
    assert operations(result) == ["reduce_sum", "reduce_sum"]


def test_the_order_of_inputs_matters(check, operations):
    result = check(
        eliminate_common_subexpressions,
        """
        graph g {
          input %x "x": f32[n]
          input %y "y": f32[n]
          %a: f32[n] = subtract(%x, %y)
          %b: f32[n] = subtract(%y, %x)
          return "a"=%a
          return "b"=%b
        }
        """,
    )
    assert operations(result) == ["subtract", "subtract"]


def test_zero_and_negative_zero_are_two_constants(check, operations):
    result = check(
        eliminate_common_subexpressions,
        """
        graph g {
          input %x "x": f32[3]
          %a: f32[3] = full() {shape=(3,), value=0.0}
          %b: f32[3] = full() {shape=(3,), value=-0.0}
          %c: f32[3] = divide(%x, %a)
          %d: f32[3] = divide(%x, %b)
          return "c"=%c
          return "d"=%d
        }
        """,
    )
    assert operations(result) == ["full", "full", "divide", "divide"]


def test_random_numbers_of_one_state_are_one_value(check, operations):
    # Randomness comes from a state that is an input like any other, so equal draws are equal.
    result = check(
        eliminate_common_subexpressions,
        """
        graph g {
          input %s "s": u32[2]
          %a: u32[9] = random_bits(%s) {shape=(9,)}
          %b: u32[9] = random_bits(%s) {shape=(9,)}
          return "a"=%a
          return "b"=%b
        }
        """,
    )
    assert operations(result) == ["random_bits"]


def test_nothing_equal_gives_the_same_graph():
    graph = parse('graph g {\n input %x "x": f32[4]\n %y: f32[4] = exp(%x)\n return "y"=%y\n}')
    assert eliminate_common_subexpressions(graph, PassContext()) is graph
