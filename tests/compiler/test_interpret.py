"""The interpreter: the oracle that compiled programs are compared with."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.interpret import BindingError, interpret
from compiler.text import parse

DENSE = parse(
    """graph dense {
      input %x "x": f32[batch,3]
      variable %w "w": f32[3,2]
      variable %count "count": i64[]
      %y: f32[batch,2] = matmul(%x, %w)
      %one: i64[] = full() {shape=(), value=1, dtype="int64"}
      %next: i64[] = add(%count, %one)
      return "y"=%y
      update "count"=%next
    }"""
)


def test_outputs_and_updates():
    x, w = np.arange(12.0, dtype="float32").reshape(4, 3), np.ones((3, 2), "float32")
    (y,), updates = interpret(DENSE, [x], [w, np.int64(5)])
    np.testing.assert_array_equal(y, x @ w)
    assert list(updates) == ["count"]
    assert updates["count"] == 6


def test_nothing_given_is_changed():
    x, w, count = np.ones((4, 3), "float32"), np.ones((3, 2), "float32"), np.asarray(5)
    before = [array.copy() for array in (x, w, count)]
    interpret(DENSE, [x], [w, count])
    for array, copy in zip((x, w, count), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_float64_runs_the_whole_graph_in_float64():
    (y,), _ = interpret(DENSE, [np.ones((1, 3))], [np.full((3, 2), 1 / 3), np.int64(0)])
    assert y.dtype == np.float64


def test_a_symbol_takes_its_value_from_the_arrays():
    graph = parse(
        """graph g {
          input %x "x": f32[2*n+1]
          input %y "y": f32[n]
          %r: f32[n,2] = broadcast(%y) {shape=(n,2), axes=(0,)}
          return "r"=%r
        }"""
    )
    (r,), _ = interpret(graph, [np.zeros(9), np.arange(4.0)])
    assert r.shape == (4, 2)


@pytest.mark.parametrize(
    ("inputs", "variables", "message"),
    [
        ([], [], r"takes 3 arrays \(x, w, count\). Received: 0"),
        ([np.zeros(3)], [np.zeros((3, 2)), np.int64(0)], r"'x' must have 2 axes .* Received: shape=\(3,\)"),
        ([np.zeros((4, 5))], [np.zeros((3, 2)), np.int64(0)], r"'x' must have shape .* batch=4. Received: \(4, 5\)"),
        ([np.zeros((4, 3))], [np.zeros((2, 3)), np.int64(0)], r"'w' must have shape f32\[3,2\]"),
    ],
)
def test_arrays_that_do_not_fit_are_named(inputs, variables, message):
    with pytest.raises(BindingError, match=message):
        interpret(DENSE, inputs, variables)


def test_two_inputs_that_disagree_about_a_symbol():
    graph = parse('graph g {\ninput %x "x": f32[n]\ninput %y "y": f32[n]\n%z: f32[n] = add(%x, %y)\nreturn "z"=%z\n}')
    with pytest.raises(BindingError, match=r"'y' must have shape f32\[n\] with n=3. Received: \(4,\)"):
        interpret(graph, [np.zeros(3), np.zeros(4)])


def test_a_symbol_that_no_array_determines():
    graph = parse('graph g {\ninput %x "x": f32[n*m]\n%y: f32[n*m] = exp(%x)\nreturn "y"=%y\n}')
    with pytest.raises(BindingError, match="does not determine m, n"):
        interpret(graph, [np.zeros(6)])


def test_infinities_and_nan_raise_no_warnings():
    graph = parse('graph g {\ninput %x "x": f32[4]\n%y: f32[4] = log(%x)\nreturn "y"=%y\n}')
    (y,), _ = interpret(graph, [np.array([0.0, -1.0, np.inf, np.nan], "float32")])
    np.testing.assert_array_equal(y, np.array([-np.inf, np.nan, np.inf, np.nan], "float32"))
