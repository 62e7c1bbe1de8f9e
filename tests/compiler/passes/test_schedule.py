"""`schedule`: an order that keeps little alive, and memory of its own for every result."""

from __future__ import annotations

import textwrap

import pytest

from compiler.passes.context import PassContext
from compiler.passes.fuse import fuse
from compiler.passes.schedule import late_updates, live_peak, schedule
from compiler.storage import root_of
from compiler.text import parse

# Updates and outputs that need a copy, and how many copies they need.
RESULTS = {
    "an update computed from the old value needs none": (
        """
        variable %v "v": f32[n]
        %a: f32[n] = exp(%v)
        update "v"=%a
        """,
        0,
    ),
    "two variables swapped": (
        """
        variable %a "a": f32[n]
        variable %b "b": f32[n]
        update "a"=%b
        update "b"=%a
        """,
        3,
    ),
    "three variables in a ring, one of them an output": (
        """
        variable %a "a": f32[n]
        variable %b "b": f32[n]
        variable %c "c": f32[n]
        return "y"=%a
        update "a"=%b
        update "b"=%c
        update "c"=%a
        """,
        5,
    ),
    "an input as output": (
        """
        input %x "x": f32[n]
        return "y"=%x
        """,
        1,
    ),
    "one value as two outputs": (
        """
        input %x "x": f32[n]
        %a: f32[n] = exp(%x)
        return "y"=%a
        return "z"=%a
        """,
        1,
    ),
    "a value and its other shape as outputs": (
        """
        input %x "x": f32[n,2]
        %a: f32[n,2] = exp(%x)
        %b: f32[2*n] = reshape(%a) {shape=(2*n,)}
        return "y"=%a
        return "z"=%b
        """,
        1,
    ),
    "a constant as output": (
        """
        %a: f32[2] = constant() {array=array float32 [2] hex 0000803f00000040}
        return "y"=%a
        """,
        1,
    ),
    "a value as output and as update": (
        """
        variable %v "v": f32[n]
        %a: f32[n] = exp(%v)
        return "y"=%a
        update "v"=%a
        """,
        1,
    ),
    "a variable as output beside its update": (
        """
        variable %v "v": f32[n]
        %a: f32[n] = exp(%v)
        return "old"=%v
        update "v"=%a
        """,
        2,
    ),
    "a variable read by a later kernel that waits for the update's value": (
        """
        variable %v "v": f32[n,n]
        %a: f32[n,n] = exp(%v)
        %t: f32[n,n] = transpose(%a) {permutation=(1,0)}
        %y: f32[n,n] = add(%t, %v)
        return "y"=%y
        update "v"=%a
        """,
        1,
    ),
    "an update that reads the variable elsewhere than where it writes": (
        """
        variable %v "v": f32[n,n]
        %t: f32[n,n] = transpose(%v) {permutation=(1,0)}
        update "v"=%t
        """,
        1,
    ),
    "two variables that each need the other's old value, transposed": (
        """
        variable %a "a": f32[n,n]
        variable %b "b": f32[n,n]
        %p: f32[n,n] = transpose(%b) {permutation=(1,0)}
        %q: f32[n,n] = add(%a, %p)
        %r: f32[n,n] = transpose(%a) {permutation=(1,0)}
        %s: f32[n,n] = multiply(%b, %r)
        update "a"=%q
        update "b"=%s
        """,
        1,
    ),
}


def scheduled(body: str):
    graph = fuse(parse("graph g {" + textwrap.dedent(body) + "}"), PassContext())
    return schedule(graph, PassContext())


@pytest.mark.parametrize("case", RESULTS)
def test_copies_where_results_need_them(case):
    body, copies = RESULTS[case]
    graph = scheduled(body)
    assert sum(node.layer == "copy" for node in graph.nodes) == copies
    roots = [root_of(value) for _, value in graph.outputs + graph.updates]
    assert len(set(roots)) == len(roots), "each result has memory of its own"
    assert all(root.node is not None for root in roots), "each result is written by a kernel"
    assert not late_updates(graph), "no variable is overwritten before its last reader"
    assert schedule(graph, PassContext()) is graph


@pytest.mark.parametrize("case", RESULTS)
def test_results_are_right_when_compiled(case, check_compiled):
    check_compiled("graph g {" + textwrap.dedent(RESULTS[case][0]) + "}")


def test_swapping_two_variables(check):
    check(
        schedule,
        """
        graph g {
          variable %a "a": f32[n]
          variable %b "b": f32[n]
          update "a"=%b
          update "b"=%a
        }
        """,
        golden="schedule_swap",
    )


def test_a_reader_of_the_old_value_goes_before_the_update():
    # As given, the update comes first. Writing it in place then needs the reader to move up.
    graph = scheduled(
        """
        input %x "x": f32[n,n]
        variable %v "v": f32[n,n]
        %new: f32[n,n] = exp(%v)
        %old: f32[n,n] = matmul(%x, %v)
        return "y"=%old
        update "v"=%new
        """
    )
    assert [node.op.body.nodes[0].op.name for node in graph.nodes] == ["matmul", "exp"]


def test_chained_rules_for_variables_never_contradict():
    # Writers of a and b each read the other variable; many such pairs chain the rules through the graph.
    count = 12
    lines = ['variable %v0 "v0": f32[4,4]']
    lines += [f'variable %v{i} "v{i}": f32[4,4]' for i in range(1, count)]
    for i in range(count):
        lines.append(f"%t{i}: f32[4,4] = transpose(%v{(i * 5 + 1) % count}) {{permutation=(1,0)}}")
        lines.append(f"%u{i}: f32[4,4] = matmul(%v{i}, %t{i})")
    lines += [f'update "v{i}"=%u{i}' for i in range(count)]
    graph = scheduled("\n".join(["", *lines, ""]))
    assert not late_updates(graph)


def test_the_order_with_the_smaller_peak_is_taken():
    # As given, both wide values are alive at once; each is reduced at once in the order found.
    given = fuse(
        parse(
            textwrap.dedent(
                """
                graph g {
                  input %x "x": f32[64,64]
                  input %w "w": f32[64,4096]
                  input %s "s": f32[4096,64]
                  %a: f32[64,4096] = matmul(%x, %w)
                  %t: f32[64,64] = transpose(%x) {permutation=(1,0)}
                  %b: f32[64,4096] = matmul(%t, %w)
                  %c: f32[64,64] = matmul(%a, %s)
                  %d: f32[64,64] = matmul(%b, %s)
                  %y: f32[64,64] = matmul(%c, %d)
                  return "y"=%y
                }
                """
            )
        ),
        PassContext(),
    )
    wide = 64 * 4096 * 4
    assert live_peak(given) >= 2 * wide
    assert live_peak(schedule(given, PassContext())) < 2 * wide
