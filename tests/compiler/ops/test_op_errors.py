"""What an op says about inputs it cannot take: what was expected, what was received, and a way out."""

from __future__ import annotations

import re

import numpy as np
import pytest

import compiler.ops as ops
from compiler.functions import add, convolution, matmul, reshape
from compiler.ir import Builder, Op
from compiler.ops.registry import OPS, OpDefinitionError, op
from compiler.types import TensorType, parse_type
from runtime.dimensions import symbol

assert ops.__all__

N, M = symbol("batch"), symbol("other")


def make(name: str, *arguments: object, **attributes: object) -> Op:
    return OPS[name](*arguments, **attributes)


BAD = [
    ("add", (), "f32[2,3] f32[2,4]", ["inputs must have one type", "f32[2,3] and f32[2,4]", "broadcast"]),
    ("add", (), "f32[2] i32[2]", ["one type", "cast"]),
    ("multiply", (), "bool[2] bool[2]", ["number dtype", "bool[2]", "Cast it"]),
    ("divide", (), "i32[2] i32[2]", ["float dtype", "i32[2]"]),
    ("exp", (), "i64[]", ["float dtype (float16, float32, float64)"]),
    ("logical_and", (), "f32[2] f32[2]", ["bool dtype"]),
    ("less", (), "bool[2] bool[2]", ["number dtype"]),
    ("select", (), "f32[2] f32[2] f32[2]", ["condition", "bool"]),
    ("select", (), "bool[3] f32[2] f32[2]", ["bool[3], f32[2] and f32[2]"]),
    ("iota", ((2, 3), 2), "", ["axes must be distinct", "from 0 to 1", "axes=(2,)"]),
    ("full", ((2,), 300, "uint8"), "", ["0..255", "300"]),
    ("dimension", (-1,), "", ["must not be negative", "-1"]),
    ("broadcast", ((4, 3), (1,)), "f32[2]", ["input axis 0", "3", "f32[2]", "(4, 3)"]),
    ("broadcast", ((N, 3), (0,)), "f32[other]", ["batch", "f32[other]", "same expression"]),
    ("broadcast", ((4, 3), (1, 0)), "f32[3,4]", ["ascending"]),
    ("reshape", ((5,),), "f32[2,3]", ["f32[2,3] with 6 elements", "(5) with 5"]),
    ("reshape", ((M, 3),), "f32[batch,3]", ["3*batch", "3*other", "same expression"]),
    ("transpose", ((0, 0),), "f32[2,3]", ["each of the 2 axes once", "permutation=(0, 0)"]),
    ("reverse", ((2,),), "f32[2,3]", ["rank 2", "axes=(2,)"]),
    ("slice", ((0,), (9,), (1,)), "f32[5]", ["axis 0", "stop <= 5", "stop=9"]),
    ("slice", ((0,), (5,), (-1,)), "f32[5]", ["step >= 1", "reverse"]),
    ("slice", ((0,), (5,), (1,)), "f32[5,2]", ["one entry for each of the 2 axes", "start=(0,)"]),
    ("pad", ((-1,), (0,)), "f32[5]", ["low must not be negative", "-1"]),
    ("concatenate", (0,), "f32[2,3] f32[2,4]", ["axis 1", "3 and 4"]),
    ("concatenate", (0,), "f32[2,3] f32[2]", ["one rank"]),
    ("concatenate", (0,), "f32[2] f64[2]", ["one dtype"]),
    ("reduce_sum", ((1, 0),), "f32[2,3]", ["ascending", "axes=(1, 0)"]),
    ("reduce_sum", ((0,),), "bool[2]", ["number dtype"]),
    ("argmax", (1,), "f32[2,0]", ["no elements to choose from"]),
    ("matmul", (), "f32[2,3] f32[4,5]", ["inner extents of f32[2,3] and f32[4,5]", "3 and 4"]),
    ("matmul", (True, False), "f32[2,3] f32[3,5]", ["transpose_a", "2 and 3"]),
    ("matmul", (), "f32[2,7,3] f32[4,3,5]", ["batch axis 0", "2 and 4"]),
    ("matmul", (), "f32[3] f32[3,5]", ["left input", "rank at least 2", "of rank 1"]),
    ("matmul", (), "f32[batch,3] f32[other,5]", ["3 and other"]),
    ("convolution", ((1,), ((0, 0),), (1,), 1), "f32[1,9,2] f32[3,3,4]", ["channels per group", "2 and 3"]),
    ("convolution", ((1,), ((0, 0),), (1,), 1), "f32[1,2,2] f32[3,2,4]", ["zero or negative", "extent 2", "'same'"]),
    ("convolution", ((1,), ((0, 0),), (1,), 2), "f32[1,9,3] f32[3,1,4]", ["multiple of groups=2", "3"]),
    ("convolution", ((0,), ((0, 0),), (1,), 1), "f32[1,9,2] f32[3,2,4]", ["strides must be positive", "(0,)"]),
    ("convolution", ((1,), ((0, 0),), (1,), 1), "f32[9,2] f32[2,4]", ["one to three spatial axes"]),
    ("convolution_input_gradient", ((9,), (2,), ((0, 0),), (1,), 1), "f32[1,5,4] f32[3,2,4]", ["5 and 4"]),
    ("convolution_kernel_gradient", ((3,), (2,), ((0, 0),), (1,), 1), "f32[2,9,2] f32[1,4,4]", ["batch", "2 and 1"]),
    ("max_pool", ((2,), (2,), ((2, 0),)), "f32[1,4,2]", ["larger than the padding", "size 2"]),
    (
        "max_pool_gradient",
        ((2,), (2,), ((0, 0),)),
        "f32[1,4,2] f32[1,3,2] f32[1,2,2]",
        ["pooled values", "3 and 2"],
    ),
    ("average_pool", ((2,), (2,), ((0, 0),)), "i32[1,4,2]", ["float dtype"]),
    ("take", (0,), "f32[3] f32[2]", ["indices", "integer dtype", "f32[2]"]),
    ("scatter_add", (0, 5), "f32[3] i32[2]", ["axis 0 of updates f32[3]", "3 and 2"]),
    ("random_bits", ((3,),), "i64[2]", ["u32[2]", "a seed and a counter", "i64[2]"]),
    ("random_uniform", ((3,), "float32", 2.0, 1.0), "u32[2]", ["low must not be above high", "low=2.0"]),
    ("dropout", (1.5,), "f32[3] u32[2]", ["rate", "0..1", "1.5"]),
    ("softmax", (1,), "f32[3]", ["axes", "rank 1", "(1,)"]),
    ("mean", ((0,),), "i32[3]", ["float dtype"]),
    ("gelu", (), "i32[3]", ["float dtype"]),
    ("one_hot", (4, 0), "f32[3]", ["integer dtype"]),
    ("upsample_nearest", ((2,),), "f32[1,2,3,4]", ["one entry for each of the 4 axes"]),
    ("batch_normalization", (1,), "f32[4,3] f32[2] f32[3]", ["gamma", "axis 1", "f32[2]"]),
    ("normalize_with", (1,), "f32[4,3] f32[3] f32[3] f32[3] f32[4]", ["beta", "f32[4]"]),
    ("layer_normalization", ((1,),), "f32[4,3] f32[3] f32[4]", ["beta", "(3)", "f32[4]"]),
]


@pytest.mark.parametrize(("name", "attributes", "types", "parts"), BAD, ids=[f"{c[0]}-{i}" for i, c in enumerate(BAD)])
def test_bad_inputs_are_named(name: str, attributes: tuple[object, ...], types: str, parts: list[str]) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        make(name, *attributes).infer(*map(parse_type, types.split()))
    message = str(caught.value)
    assert message.startswith(f"{name}: ") or name in ("batch_normalization", "softmax", "mean")
    assert [part for part in parts if part not in message] == [], message


def test_every_op_refuses_a_wrong_number_of_inputs() -> None:
    for name, cls in OPS.items():
        if name in ("fused", "gradient", "concatenate") or not list(cls.samples()):
            continue
        chosen, arrays = next(iter(cls.samples()))
        types = [TensorType(array.shape, array.dtype.name) for array in arrays]
        extra = TensorType((2,), "float32")
        with pytest.raises(TypeError, match=rf"{name}: expected {len(types)} inputs?. Received: {len(types) + 1}"):
            chosen.infer(*types, extra)


def test_unknown_dtypes_are_refused() -> None:
    for bad in (lambda: make("cast", "float31"), lambda: make("full", (), 0, "complex64")):
        with pytest.raises(ValueError, match=r"unknown dtype .* Expected one of float16"):
            bad()


def test_an_incomplete_op_is_refused_at_import() -> None:
    with pytest.raises(OpDefinitionError, match=r"op 'half'.*lacks gradient, infer, lower, reference, samples"):

        @op
        class Half(Op):
            """x / 2."""

    with pytest.raises(OpDefinitionError, match=r"'add' is already defined in compiler\.ops\.arithmetic"):
        op(type("Add", (OPS["add"],), {}))


def test_the_layer_is_named() -> None:
    b = Builder()
    x = b.input("x", TensorType((N, 3)))
    with b.scope(layer="dense_7", source="train.py:12"), pytest.raises(ValueError, match="inner") as caught:
        matmul(b, x, b.input("kernel", TensorType((4, 5))))
    assert caught.value.__notes__ == ["in layer 'dense_7', train.py:12"]


def test_functions_explain_operands_and_shapes() -> None:
    b = Builder()
    x, y = b.input("x", TensorType((N, 3))), b.input("y", TensorType((M, 3)))
    with pytest.raises(ValueError, match=re.escape("Shapes (batch, 3) and (other, 3) do not broadcast: on axis 0")):
        add(b, x, y)
    with pytest.raises(TypeError, match=r"array.* of ndarray\. Make an array a Value with functions\.constant"):
        add(b, x, np.ones(3))
    with pytest.raises(TypeError, match="at least one Value"):
        add(b, 1, 2)
    with pytest.raises(ValueError, match="at most one extent may be -1"):
        reshape(b, x, (-1, -1))
    with pytest.raises(ValueError, match=re.escape("the size 3*batch of f32[batch,3] must be a multiple of 2")):
        reshape(b, x, (2, -1))
    image = b.input("image", TensorType((N, 8, 8, 3)))
    kernel = b.input("kernel", TensorType((3, 3, 3, 4)))
    with pytest.raises(ValueError, match="'valid', 'same', 'causal'"):
        convolution(b, image, kernel, padding="full")
    with pytest.raises(ValueError, match=r"strides must be a number or 2 of them. Received: strides=\(1, 1, 1\)"):
        convolution(b, image, kernel, strides=(1, 1, 1))
