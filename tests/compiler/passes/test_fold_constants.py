"""`fold_constants`: what depends on no input is computed at compile time."""

from __future__ import annotations

import numpy as np

from compiler.ops.sources import Constant, Full
from compiler.passes.context import PassContext
from compiler.passes.fold_constants import fold_constants
from compiler.text import parse


def test_arithmetic_of_full_is_full_at_any_batch_size(check):
    check(
        fold_constants,
        """
        graph g {
          input %x "x": f32[batch,3]
          %two: f32[] = full() {shape=(), value=2.0}
          %wide: f32[batch,3] = broadcast(%two) {shape=(batch,3), axes=()}
          %four: f32[batch,3] = multiply(%wide, %wide)
          %y: f32[batch,3] = add(%x, %four)
          return "y"=%y
        }
        """,
        golden="fold_full",
    )


def test_other_values_become_a_constant(check):
    check(
        fold_constants,
        """
        graph g {
          input %x "x": f32[4]
          %i: f32[4] = iota() {shape=(4,), axis=0, dtype="float32"}
          %e: f32[4] = multiply(%i, %i)
          %y: f32[4] = add(%x, %e)
          return "y"=%y
        }
        """,
        golden="fold_iota",
    )


def test_zeros_of_both_signs_are_not_one_full(check):
    result = check(
        fold_constants,
        """
        graph g {
          input %x "x": f32[2]
          %a: f32[1] = full() {shape=(1,), value=0.0}
          %b: f32[1] = full() {shape=(1,), value=-0.0}
          %c: f32[2] = concatenate(%a, %b) {axis=0}
          %y: f32[2] = divide(%x, %c)
          return "y"=%y
        }
        """,
    )
    (constant,) = (node.op for node in result.nodes if isinstance(node.op, Constant))
    np.testing.assert_array_equal(np.signbit(constant.array.array), [False, True])


def test_nan_and_infinity_fold(check):
    result = check(
        fold_constants,
        """
        graph g {
          input %x "x": f32[n]
          %zero: f32[n] = full() {shape=(n,), value=0.0}
          %nan: f32[n] = divide(%zero, %zero)
          %one: f32[n] = full() {shape=(n,), value=1.0}
          %infinity: f32[n] = divide(%one, %zero)
          %y: f32[n] = maximum(%x, %nan)
          %z: f32[n] = maximum(%x, %infinity)
          return "y"=%y
          return "z"=%z
        }
        """,
    )
    values = {str(node.op.value) for node in result.nodes if isinstance(node.op, Full)}
    assert values == {"0.0", "1.0", "nan", "inf"}


def test_a_constant_above_the_limit_stays_a_computation(check, operations):
    result = check(
        fold_constants,
        """
        graph g {
          input %x "x": f32[70000]
          %i: f32[70000] = iota() {shape=(70000,), axis=0, dtype="float32"}
          %e: f32[70000] = exp(%i)
          %y: f32[70000] = minimum(%x, %e)
          return "y"=%y
        }
        """,
    )
    assert operations(result) == ["iota", "exp", "minimum"]


def test_attributes_known_only_at_run_time_stay(check, operations):
    result = check(
        fold_constants,
        """
        graph g {
          input %x "x": f32[n]
          %i: i32[9] = iota() {shape=(9,), axis=0, dtype="int32"}
          %y: i32[3] = slice(%i) {start=(n//2,), stop=(n//2+3,), step=(1,)}
          return "y"=%y
        }
        """,
    )
    assert operations(result) == ["iota", "slice"]


def test_nothing_constant_gives_the_same_graph():
    graph = parse('graph g {\n input %x "x": f32[4]\n %y: f32[4] = exp(%x)\n return "y"=%y\n}')
    assert fold_constants(graph, PassContext()) is graph
