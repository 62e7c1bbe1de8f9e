"""Symbolic tensors: what they know, what they refuse, and that operators go to graphcore.ops."""

from __future__ import annotations

import numpy as np
import pytest

from graphcore import ops
from graphcore.layers import Input
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace
from runtime.dimensions import symbol


def test_symbolic_extents_show_as_none_and_keep_their_expression():
    x = KerasTensor((None, None, 3), "float32")
    assert x.shape == (None, None, 3)
    assert x.dims == (symbol("batch"), symbol("d1"), 3)
    assert x.ndim == 3
    doubled = ops.repeat(Input((None, 3)), 2, axis=1)
    assert doubled.shape == (None, None, 3)
    assert str(doubled.dims[1]) == "2*d1"


@pytest.mark.parametrize("shape", [(-1,), (2.5,), ("a",), (True,)])
def test_a_shape_holds_sizes(shape):
    with pytest.raises(ValueError, match="non-negative integers and None"):
        KerasTensor(shape)


REFUSED = {
    "if": (lambda x: bool(x), "ops.where"),
    "array": (lambda x: np.asarray(x), "model.predict"),
    "iteration": (lambda x: list(x), "ops.unstack"),
    "length": (lambda x: len(x), r"ops.shape\(x\)\[0\]"),
    "int": (lambda x: int(x), "ops.cast"),
    "float": (lambda x: float(x), "ops.cast"),
    "index": (lambda x: [1, 2][x], "ops.take"),
    "numpy function without counterpart": (lambda x: np.linalg.svd(x), "Use a function of graphcore.ops"),
    "ufunc method": (lambda x: np.add.reduce(x), "cannot run on a KerasTensor"),
}


@pytest.mark.parametrize("use", REFUSED)
def test_what_needs_numbers_is_refused_with_a_way_out(use):
    action, fix = REFUSED[use]
    with pytest.raises(TypeError, match=fix):
        action(Input((3,)))


OPERATORS = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "//": lambda a, b: a // b, "%": lambda a, b: a % b, "**": lambda a, b: a**b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}  # fmt: skip


@pytest.mark.parametrize("sign", OPERATORS)
@pytest.mark.parametrize("order", ["tensor first", "number first", "array first", "two tensors"])
def test_operators(sign, order):
    from compiler.interpret import interpret

    a = np.array([[1.0, 2.0, 3.5]], np.float32)
    other = {"two tensors": a[:, ::-1] + 0.5, "array first": np.full((1, 3), 2.5, np.float32)}.get(order, 2.0)
    operator = OPERATORS[sign]
    with Trace("t") as trace:
        x = trace.input("x", a.shape)
        y = trace.input("y", a.shape) if order == "two tensors" else other
        result = operator(y, x) if order.endswith("first") and not order.startswith("tensor") else operator(x, y)
    graph, _ = trace.finish({"r": result})
    (got,), _ = interpret(graph, [a, other] if order == "two tensors" else [a])
    wanted = operator(other, a) if order in ("number first", "array first") else operator(a, other)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert result.dtype == wanted.dtype.name


def test_unary_operators_matmul_and_methods():
    x = Input((4, 3))
    assert (-x).shape == abs(x).shape == (None, 4, 3)
    assert (x @ np.zeros((3, 5), np.float32)).shape == (None, 4, 5)
    assert (np.zeros((6, 4), np.float32) @ x).shape == (None, 6, 3)
    assert x.reshape(-1, 12).shape == x.reshape((-1, 12)).shape == (None, 12)
    assert x[:, 0].shape == (None, 3)
    assert x.T.shape == (3, 4, None)
    assert x.astype("float16").dtype == "float16"
    assert (~(x > 0)).dtype == ((x > 0) & (x < 1)).dtype == "bool"


def test_numpy_functions_go_to_their_counterparts():
    x = Input((3,))
    assert np.exp(x).node.operation.kind == "Exp"
    assert np.add(1.0, x).dtype == "float32"
    assert np.concatenate([x, x], axis=1).shape == (None, 6)
    assert np.mean(x, axis=-1).shape == (None,)


def test_history_names_the_call_that_made_it():
    x = Input((3,), name="first")
    operation, node, index = x.history
    assert (operation.name, node, index) == ("first", 0, 0)
    parts = ops.split(x, 3, axis=1)
    assert [part.history[2] for part in parts] == [0, 1, 2]
    assert x.history == x._keras_history
    assert KerasTensor((2,)).history is None


def test_tensors_are_told_apart_by_identity_in_sets_and_dicts():
    x, y = Input((3,)), Input((3,))
    assert {x: 1, y: 2}[y] == 2
    assert len({x, y, x}) == 2
