"""Elementwise operations against NumPy in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphcore import ops, settings

RNG = np.random.default_rng(7)
REAL = RNG.normal(size=(5, 3)).astype(np.float32)
POSITIVE = (np.abs(REAL) + 0.5).astype(np.float32)


def f64(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


UNARY = {
    "absolute": (REAL, np.abs), "abs": (REAL, np.abs), "ceil": (REAL, np.ceil), "cos": (REAL, np.cos),
    "cosh": (REAL, np.cosh), "exp": (REAL, np.exp), "exp2": (REAL, np.exp2), "expm1": (REAL, np.expm1),
    "erf": (REAL, np.vectorize(math.erf)), "floor": (REAL, np.floor), "isfinite": (REAL, np.isfinite),
    "isnan": (REAL, np.isnan), "isinf": (REAL, np.isinf), "log": (POSITIVE, np.log), "log10": (POSITIVE, np.log10),
    "log1p": (POSITIVE, np.log1p), "log2": (POSITIVE, np.log2), "negative": (REAL, np.negative),
    "reciprocal": (POSITIVE, np.reciprocal), "round": (REAL, np.round), "rsqrt": (POSITIVE, lambda x: x**-0.5),
    "sign": (REAL, np.sign), "sin": (REAL, np.sin), "sinh": (REAL, np.sinh), "sqrt": (POSITIVE, np.sqrt),
    "square": (REAL, np.square), "tan": (REAL, np.tan), "tanh": (REAL, np.tanh), "trunc": (REAL, np.trunc),
    "logical_not": (REAL > 0, np.logical_not),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary(name, three_ways):
    x, oracle = UNARY[name]
    expected = oracle(x if x.dtype == bool else f64(x))
    three_ways(
        getattr(ops, name),
        (x,),
        expected.astype(bool if expected.dtype == bool else np.float32),
        batch=5,
        tolerance=2e-6,
    )


BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "true_divide": np.divide,
    "maximum": np.maximum, "minimum": np.minimum, "power": np.power, "mod": np.mod, "floor_divide": np.floor_divide,
    "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal, "logaddexp": np.logaddexp,
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shape", [(5, 3), (3,), (5, 1), ()])
def test_binary_broadcasts(name, shape, three_ways):
    other = (np.abs(RNG.normal(size=shape)) + 0.5).astype(np.float32)
    expected = BINARY[name](f64(POSITIVE), f64(other))
    dtype = bool if expected.dtype == bool else np.float32
    three_ways(getattr(ops, name), (POSITIVE, other), expected.astype(dtype), batch=5, tolerance=3e-6)


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic(name, three_ways):
    a, b = REAL > 0, REAL > -0.5
    three_ways(getattr(ops, name), (a, b), getattr(np, name)(a, b), batch=5)


@pytest.mark.parametrize(
    ("dtype", "number", "expected"),
    [
        ("float32", 0.1, "float32"),
        ("float16", 0.1, "float16"),
        ("float64", 0.1, "float64"),
        ("int32", 2, "int32"),
        ("uint8", 2, "uint8"),
        ("int32", 0.5, "float32"),
        ("float32", np.float64(0.1), "float32"),
        ("float32", True, "float32"),
    ],
)
def test_a_python_number_takes_the_type_of_the_tensor(dtype, number, expected, three_ways):
    x = np.ones((2, 3), dtype)
    three_ways(
        lambda t: t * number if not isinstance(t, np.ndarray) else ops.multiply(t, number),
        (x,),
        (np.float64(number) * np.ones((2, 3))).astype(expected),
        tolerance=1e-3,
    )


def test_a_float64_array_beside_a_float32_tensor_does_not_widen_it(three_ways):
    constant = np.linspace(0, 1, 3)
    assert constant.dtype == np.float64
    x = np.ones((2, 3), np.float32)
    from graphcore.tracing import Trace

    with Trace("t") as trace:
        assert ops.add(trace.input("x", x.shape), constant).dtype == "float32"
        assert ops.add(constant, trace.input("z", x.shape, "int32")).dtype == "float32"
    assert ops.add(constant, constant).dtype == np.float64  # arrays alone keep their precision


def test_integers_become_floats_where_the_result_is_one(three_ways):
    x = np.array([[1, 4], [9, 16]], np.int32)
    three_ways(ops.sqrt, (x,), np.sqrt(x).astype(np.float32))
    three_ways(lambda t: ops.divide(t, 2), (x,), (x / 2).astype(np.float32))


def test_where_clip_and_rounding(three_ways):
    three_ways(lambda x: ops.where(ops.greater(x, 0), x, 0.0), (REAL,), np.where(REAL > 0, REAL, 0), batch=5)
    three_ways(lambda x: ops.clip(x, -0.5, 0.5), (REAL,), np.clip(REAL, -0.5, 0.5), batch=5)
    three_ways(lambda x: ops.round(x, 2), (REAL,), np.round(f64(REAL), 2).astype(np.float32), batch=5)
    with pytest.raises(ValueError, match="pass x1 and x2"):
        ops.where(REAL > 0)


def test_divide_no_nan(three_ways):
    x, y = np.array([1.0, 0.0, -2.0], np.float32), np.array([0.0, 0.0, 4.0], np.float32)
    three_ways(ops.divide_no_nan, (x, y), np.array([0.0, 0.0, -0.5], np.float32))


def test_not_a_number_propagates(three_ways):
    x = np.array([[np.nan, 1.0], [2.0, np.inf]], np.float32)
    three_ways(lambda t: ops.maximum(t, 0.0), (x,), np.maximum(x, 0))
    three_ways(ops.relu, (x,), np.maximum(x, 0))
    three_ways(ops.max, (x,), np.float32(np.nan))
    three_ways(ops.nan_to_num, (x,), np.nan_to_num(x))
    three_ways(ops.isfinite, (x,), np.isfinite(x))
    assert ops.isclose(x, x, equal_nan=True).all()
    assert not ops.isclose(x, x)[0, 0]


def test_cast_and_default_float():
    assert ops.cast([1, 2], "float16").dtype == np.float16
    assert ops.convert_to_tensor(1.5).dtype == np.float32
    assert ops.convert_to_tensor([1, 2]).dtype == np.int32
    settings.set_floatx("float64")
    try:
        assert ops.convert_to_tensor(1.5).dtype == np.float64
        assert ops.exp(np.arange(3)).dtype == np.float64
    finally:
        settings.set_floatx("float32")


def test_unknown_arguments_are_refused_with_the_functions_name():
    with pytest.raises(TypeError, match="unexpected keyword argument 'axes'"):
        ops.sum(REAL, axes=0)
    with pytest.raises(TypeError, match="multiple values"):
        ops.add(REAL, REAL, x1=REAL)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x2'"):
        ops.matmul(REAL)
