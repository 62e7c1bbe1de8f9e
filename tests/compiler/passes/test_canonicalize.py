"""`canonicalize`: one form for what can be written in several."""

from __future__ import annotations

import itertools

import pytest

from compiler.passes.canonicalize import canonicalize
from compiler.passes.context import PassContext
from compiler.text import parse

# What goes in between `input %x "x": f32[n,4]` and `return "y"=%y`, and the ops that must be left.
LOCAL_RULES = {
    "add zero on the right": ("%c: f32[n,4] = full() {shape=(n,4), value=0.0}\n%y: f32[n,4] = add(%x, %c)", ["full"]),
    "add zero on the left": ("%c: f32[n,4] = full() {shape=(n,4), value=0.0}\n%y: f32[n,4] = add(%c, %x)", ["full"]),
    "multiply by one": ("%c: f32[n,4] = full() {shape=(n,4), value=1.0}\n%y: f32[n,4] = multiply(%x, %c)", ["full"]),
    "subtract a constant": (
        "%c: f32[n,4] = full() {shape=(n,4), value=3.0}\n%y: f32[n,4] = subtract(%x, %c)",
        ["full", "full", "add"],
    ),
    "divide by a power of two": (
        "%c: f32[n,4] = full() {shape=(n,4), value=8.0}\n%y: f32[n,4] = divide(%x, %c)",
        ["full", "full", "multiply"],
    ),
    "divide by three stays, since 1/3 is not exact": (
        "%c: f32[n,4] = full() {shape=(n,4), value=3.0}\n%y: f32[n,4] = divide(%x, %c)",
        ["full", "divide"],
    ),
    "negative twice": ("%a: f32[n,4] = negative(%x)\n%y: f32[n,4] = negative(%a)", ["negative"]),
    "cast to the own dtype": ('%y: f32[n,4] = cast(%x) {dtype="float32"}', []),
    "cast through a narrower dtype stays": (
        '%a: f16[n,4] = cast(%x) {dtype="float16"}\n%y: f32[n,4] = cast(%a) {dtype="float32"}',
        ["cast", "cast"],
    ),
    "reshape twice": (
        "%a: f32[4*n] = reshape(%x) {shape=(4*n,)}\n%y: f32[n,2,2] = reshape(%a) {shape=(n,2,2)}",
        ["reshape", "reshape"],
    ),
    "reshape and back": (
        "%a: f32[4*n] = reshape(%x) {shape=(4*n,)}\n%y: f32[n,4] = reshape(%a) {shape=(n,4)}",
        ["reshape"],
    ),
    # The sum's terms stand on a product whose operand is replaced in the same walk.
    "sum of padded parts that are rewritten": (
        "%c: f32[n,4] = full() {shape=(n,4), value=1.0}\n%m: f32[n,4] = multiply(%x, %c)\n"
        "%l: f32[n,2] = slice(%m) {start=(0, 0), stop=(n, 2), step=(1, 1)}\n%s: f32[n,2] = multiply(%l, %l)\n"
        "%a: f32[n,4] = pad(%s) {low=(0, 0), high=(0, 2), value=0}\n"
        "%b: f32[n,4] = pad(%l) {low=(0, 2), high=(0, 0), value=0}\n%y: f32[n,4] = add(%a, %b)",
        ["full", "slice", "multiply", "pad", "pad", "concatenate"],
    ),
    # Each is what `concatenate(%k, %k)` looks like when only one part is looked at for each start.
    "sum of padded parts of which two begin at the same place": (
        "%k: f32[n,2] = slice(%x) {start=(0, 0), stop=(n, 2), step=(1, 1)}\n%e: f32[n,2] = exp(%k)\n"
        "%a: f32[n,4] = pad(%k) {low=(0, 0), high=(0, 2), value=0}\n"
        "%b: f32[n,4] = pad(%e) {low=(0, 0), high=(0, 2), value=0}\n"
        "%c: f32[n,4] = pad(%k) {low=(0, 2), high=(0, 0), value=0}\n"
        "%s: f32[n,4] = add(%a, %b)\n%y: f32[n,4] = add(%s, %c)",
        ["slice", "exp", "pad", "pad", "pad", "add", "add"],
    ),
    "sum of padded parts of which one is there twice": (
        "%k: f32[n,2] = slice(%x) {start=(0, 0), stop=(n, 2), step=(1, 1)}\n"
        "%a: f32[n,4] = pad(%k) {low=(0, 0), high=(0, 2), value=0}\n"
        "%c: f32[n,4] = pad(%k) {low=(0, 2), high=(0, 0), value=0}\n"
        "%s: f32[n,4] = add(%a, %c)\n%y: f32[n,4] = add(%s, %a)",
        ["slice", "pad", "pad", "concatenate", "add"],
    ),
    "transpose and back": (
        "%a: f32[4,n] = transpose(%x) {permutation=(1,0)}\n%y: f32[n,4] = transpose(%a) {permutation=(1,0)}",
        ["transpose"],
    ),
    "transpose that moves only an extent of 1": (
        "%a: f32[n,1,4] = reshape(%x) {shape=(n,1,4)}\n%y: f32[1,n,4] = transpose(%a) {permutation=(1,0,2)}",
        ["reshape", "reshape"],
    ),
    "broadcast twice": (
        "%a: f32[2,n,4] = broadcast(%x) {shape=(2,n,4), axes=(1,2)}\n"
        "%y: f32[2,3,n,4] = broadcast(%a) {shape=(2,3,n,4), axes=(0,2,3)}",
        ["broadcast", "broadcast"],
    ),
    "broadcast to the own shape": ("%y: f32[n,4] = broadcast(%x) {shape=(n,4), axes=(0,1)}", []),
    "reshape that inserts ones, then broadcast": (
        "%a: f32[n,1,4] = reshape(%x) {shape=(n,1,4)}\n%y: f32[n,6,4] = broadcast(%a) {shape=(n,6,4), axes=(0,1,2)}",
        ["reshape", "broadcast"],
    ),
    "maps of a value with an extent of 1 inserted, and a constant": (
        "%a: f32[n,1,4] = reshape(%x) {shape=(n,1,4)}\n%c: f32[n,1,4] = full() {shape=(n,1,4), value=3.0}\n"
        "%s: f32[n,1,4] = add(%a, %c)\n%e: f32[n,1,4] = exp(%s)\n"
        "%y: f32[n,6,4] = broadcast(%e) {shape=(n,6,4), axes=(0,1,2)}",
        ["reshape", "full", "full", "add", "reshape", "exp", "reshape", "broadcast"],
    ),
    "a map of a value of which extents are joined stays": (
        "%a: f32[4*n] = reshape(%x) {shape=(4*n,)}\n%y: f32[4*n] = exp(%a)",
        ["reshape", "exp"],
    ),
    "a map of a reshaped value and another stays": (
        "%a: f32[n,1,4] = reshape(%x) {shape=(n,1,4)}\n%b: f32[n,1,4] = broadcast(%x) {shape=(n,1,4), axes=(0,2)}\n"
        "%y: f32[n,1,4] = add(%a, %b)",
        ["reshape", "broadcast", "add"],
    ),
    "reduce over no axis": ("%y: f32[n,4] = reduce_sum(%x) {axes=()}", []),
    "stop_gradient": ("%y: f32[n,4] = stop_gradient(%x)", []),
}


@pytest.mark.parametrize("case", LOCAL_RULES)
def test_rule(case, check, operations):
    body, left = LOCAL_RULES[case]
    result = check(canonicalize, f'graph g {{\ninput %x "x": f32[n,4]\n{body}\nreturn "y"=%y\n}}')
    assert operations(result) == left


def test_parts_of_two_layers_that_share_a_slice_keep_their_gradients(check_compiled):
    # d = x[:, 2:], a = x[:, :2], c = x[:, :2]; square(a) + exp(c) * d
    check_compiled(
        """
        graph g {
          input %x "x": f32[n,4]
          %d: f32[n,2] = slice(%x) {start=(0, 2), stop=(n, 4), step=(1, 1)}
          %a: f32[n,2] = slice(%x) {start=(0, 0), stop=(n, 2), step=(1, 1)}
          %c: f32[n,2] = slice(%x) {start=(0, 0), stop=(n, 2), step=(1, 1)}
          %s: f32[n,2] = multiply(%a, %a)
          %e: f32[n,2] = exp(%c)
          %p: f32[n,2] = multiply(%e, %d)
          %y: f32[n,2] = add(%s, %p)
          %z: f32[] = reduce_sum(%y) {axes=(0, 1)}
          %g: f32[n,4] = gradient(%z, %x)
          return "z"=%z
          return "g"=%g
        }
        """
    )


def test_a_sum_of_itself_many_times_over_is_walked_once(check, operations):
    names = ["%x", *(f"%v{i}" for i in range(64))]
    doubled = "\n".join(f"{b}: f32[n,4] = add({a}, {a})" for a, b in itertools.pairwise(names))
    padded = "%k: f32[n,4] = pad(%i) {low=(0, 0), high=(0, 2), value=0}"
    for first in ('input %x "x": f32[n,4]', f'input %i "i": f32[n,2]\n{padded.replace("%k", "%x")}'):
        result = check(canonicalize, f'graph g {{\n{first}\n{doubled}\nreturn "y"={names[-1]}\n}}')
        assert operations(result).count("add") == 64


def test_sum_over_images_comes_last(check):
    # Images are independent work: the batch axis is summed in a second, small step.
    check(
        canonicalize,
        """
        graph g {
          input %x "x": f32[batch,7,7,8]
          %y: f32[8] = reduce_sum(%x) {axes=(0,1,2)}
          return "y"=%y
        }
        """,
        golden="canonicalize_sum_over_images",
    )


def test_axes_on_both_sides_of_a_kept_one_are_reduced_in_two_steps(check):
    check(
        canonicalize,
        """
        graph g {
          input %x "x": f32[3,n,5]
          %y: f32[n] = reduce_max(%x) {axes=(0,2)}
          return "y"=%y
        }
        """,
        golden="canonicalize_both_sides",
    )


def test_a_half_precision_divisor_whose_inverse_overflows_stays(check, operations):
    # 2**-16 is a float16, its inverse 65536 is not.
    result = check(
        canonicalize,
        """
        graph g {
          input %x "x": f16[n]
          %c: f16[n] = full() {shape=(n,), value=1.52587890625e-05, dtype="float16"}
          %y: f16[n] = divide(%x, %c)
          return "y"=%y
        }
        """,
    )
    assert operations(result) == ["full", "divide"]


def test_stop_gradient_stays_while_a_gradient_is_wanted(check, operations):
    text = """
        graph g {
          input %x "x": f32[]
          %a: f32[] = stop_gradient(%x)
          %y: f32[] = multiply(%a, %x)
          %g: f32[] = gradient(%y, %x)
          return "g"=%g
        }
        """
    assert "stop_gradient" in operations(check(canonicalize, text, numbers=False))


def test_a_canonical_graph_comes_back_itself():
    graph = parse('graph g {\n input %x "x": f32[4]\n %y: f32[4] = exp(%x)\n return "y"=%y\n}')
    assert canonicalize(graph, PassContext()) is graph
