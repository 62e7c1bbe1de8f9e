"""Graphs and their builder: typed at birth, immutable, equal by structure."""

from __future__ import annotations

import dataclasses
import math

import pytest

import compiler.ops as ops
from compiler.ir import Builder, Fusion, Graph, Op, Value
from compiler.ops.registry import OPS, OpDefinitionError, op, snake_case
from compiler.ops.sources import Full
from compiler.text import parse
from compiler.types import TensorType, parse_type

assert ops.__all__

F3 = TensorType((3,))


class Complete(Op):
    """Every method is there; none is called."""

    fusion = Fusion.OPAQUE
    infer = reference = gradient = lower = samples = None  # type: ignore[assignment]


def small(name: str = "g", layer: str = "dense") -> Graph:
    b = Builder(name)
    x, v = b.input("x", F3), b.variable("v", F3)
    with b.scope(layer=layer, source="m.py:1"):
        y = b.emit(OPS["add"](), x, v)
    b.output("y", y)
    b.update("v", y)
    return b.build()


def test_a_node_is_typed_by_its_ops_own_rule():
    b = Builder()
    x = b.input("x", parse_type("f32[n,3]"))
    assert b.emit(OPS["reduce_sum"]((1,)), x).type == parse_type("f32[n]")


def test_a_refused_node_names_the_layer_and_the_line():
    b = Builder()
    x, y = b.input("x", F3), b.input("y", TensorType((4,)))
    with b.scope(layer="dense_7", source="train.py:12"), pytest.raises(ValueError, match="add") as caught:
        b.emit(OPS["add"](), x, y)
    assert caught.value.__notes__ == ["in layer 'dense_7', train.py:12"]
    assert not b.nodes


def test_scopes_nest_and_end():
    b = Builder()
    x = b.input("x", F3)
    with b.scope(layer="outer", source="a.py:1"):
        with b.scope(layer="inner"):
            b.emit(OPS["exp"](), x)
        b.emit(OPS["exp"](), x)
    b.emit(OPS["exp"](), x)
    assert [(n.layer, n.source) for n in b.nodes] == [("inner", "a.py:1"), ("outer", "a.py:1"), ("", "")]


def test_names_are_taken_once():
    b = Builder()
    b.input("x", F3)
    with pytest.raises(ValueError, match="already has an input or variable named 'x'"):
        b.variable("x", F3)


def test_updates_are_of_variables_and_keep_their_type():
    b = Builder()
    x = b.input("x", F3)
    b.variable("v", TensorType((4,)))
    with pytest.raises(ValueError, match="no such variable"):
        b.update("x", x)
    with pytest.raises(TypeError, match=r"type f32\[4\]. Received: f32\[3\]"):
        b.update("v", x)


def test_a_later_update_replaces_an_earlier_one():
    b = Builder()
    v = b.variable("v", F3)
    b.update("v", b.emit(OPS["exp"](), v))
    last = b.emit(OPS["tanh"](), v)
    b.update("v", last)
    assert b.build().updates == (("v", last),)


def test_emit_is_for_one_result():
    b = Builder()
    x, c = b.input("x", parse_type("f32[n,3]")), b.input("c", F3)
    with pytest.raises(TypeError, match="has 3 results; use emit_all"):
        b.emit(OPS["batch_normalization"](1, 1e-3), x, c, c)


def test_graphs_are_equal_by_structure():
    assert small() == small()
    assert hash(small()) == hash(small())
    assert small() != small(name="h")
    assert small() != small(layer="other")


def test_values_and_nodes_are_told_apart_by_identity():
    graph = small()
    assert graph.inputs[0].value != graph.variables[0].value
    assert Value(F3) != Value(F3)
    with pytest.raises(ValueError, match="no producer"):
        _ = graph.inputs[0].value.producer


def test_users_count_every_use():
    graph = parse('graph g {\ninput %x "x": f32[3]\n%y: f32[3] = multiply(%x, %x)\nreturn "y"=%y\n}')
    (node,) = graph.nodes
    assert graph.users() == {graph.inputs[0].value: [node, node], node.outputs[0]: []}


def test_graphs_cannot_be_edited():
    with pytest.raises(dataclasses.FrozenInstanceError):
        small().name = "other"  # type: ignore[misc]


def test_ops_are_equal_where_their_attributes_have_the_same_bits():
    assert Full((3,), 1) == Full((3,), 1.0)
    assert Full((3,), math.nan) == Full((3,), -math.nan)
    assert Full((3,), 0.0) != Full((3,), -0.0)
    assert OPS["exp"]() == OPS["exp"]()
    assert OPS["exp"]() != OPS["log"]()
    assert len({Full((3,), 0.0), Full((3,), -0.0), Full((3,), 0)}) == 2


def test_attributes_are_given_by_position_or_name_and_then_fixed():
    full = Full((2,), 1.0)
    assert full == Full(shape=(2,), value=1.0, dtype="float32") == dataclasses.replace(Full((3,), 1.0), shape=(2,))
    assert repr(full) == "Full(shape=(2,), value=1.0, dtype='float32')"
    with pytest.raises(dataclasses.FrozenInstanceError, match="'value'"):
        full.value = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError, match="'value'"):
        del full.value
    assert full.value == 1.0


ATTRIBUTES = [
    (((2,),), {}, "needs the attribute 'value'"),
    (((2,), 1.0, "float32", 7), {}, r"takes \(shape, value, dtype\)"),
    (((2,), 1.0), {"value": 2.0}, "received .* and value"),
    (((2,), 1.0), {"colour": 2.0}, "received .* and colour"),
]


@pytest.mark.parametrize(("values", "named", "message"), ATTRIBUTES)
def test_attributes_that_do_not_fit_are_refused(values, named, message):
    with pytest.raises(TypeError, match=message):
        Full(*values, **named)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Exp", "exp"),
        ("ReduceSum", "reduce_sum"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("ConvLSTM2D", "conv_lstm2d"),
        ("L1L2", "l1l2"),
        ("LogSumExp", "log_sum_exp"),
    ],
)
def test_op_names_are_snake_case(name, expected):
    assert snake_case(name) == expected


def test_an_incomplete_op_is_refused_when_it_is_defined():
    with pytest.raises(OpDefinitionError, match=r"op 'half_done' .* lacks gradient, infer, lower, reference, samples"):

        @op
        class HalfDone(Op):
            pass


def test_an_op_name_is_taken_once():
    before = OPS["exp"]
    with pytest.raises(OpDefinitionError, match=r"'exp' is already defined in compiler\.ops\.math"):

        @op
        class Exp(Complete):
            pass

    assert OPS["exp"] is before


def test_every_op_is_final():
    for name, cls in OPS.items():
        assert not cls.__subclasses__(), name
