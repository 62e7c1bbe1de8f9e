"""Elementwise functions: operands are broadcast and promoted, Python numbers take the tensor's dtype."""

from __future__ import annotations

from compiler.functions.core import (
    DEFAULT_FLOAT,
    Operand,
    as_value,
    broadcast_shapes,
    broadcast_to,
    cast,
    common_dtype,
    emit,
    fit,
    promote,
    to_values,
)
from compiler.ir import Builder, Value
from compiler.types import is_float


def _binary(b: Builder, name: str, x: Operand, y: Operand) -> Value:
    return emit(b, name, *to_values(b, (x, y)))


def _logical(b: Builder, name: str, *operands: Operand) -> Value:
    values = [cast(b, as_value(b, x), "bool") for x in operands]
    return emit(b, name, *to_values(b, values))


def as_float(b: Builder, x: Operand) -> Value:
    """A tensor of floats: integers and bools become the default float dtype."""
    value = as_value(b, x)
    return value if is_float(value.type.dtype) else cast(b, value, DEFAULT_FLOAT)


def _as_number(b: Builder, x: Operand) -> Value:
    value = as_value(b, x)
    return cast(b, value, "int32") if value.type.dtype == "bool" else value


def add(b: Builder, x: Operand, y: Operand) -> Value:
    """x + y."""
    return _binary(b, "add", x, y)


def subtract(b: Builder, x: Operand, y: Operand) -> Value:
    """x - y."""
    return _binary(b, "subtract", x, y)


def multiply(b: Builder, x: Operand, y: Operand) -> Value:
    """x * y."""
    return _binary(b, "multiply", x, y)


def power(b: Builder, x: Operand, y: Operand) -> Value:
    """x ** y."""
    return _binary(b, "power", x, y)


def maximum(b: Builder, x: Operand, y: Operand) -> Value:
    """The greater of x and y; NaN if either is."""
    return _binary(b, "maximum", x, y)


def minimum(b: Builder, x: Operand, y: Operand) -> Value:
    """The smaller of x and y; NaN if either is."""
    return _binary(b, "minimum", x, y)


def floor_divide(b: Builder, x: Operand, y: Operand) -> Value:
    """floor(x / y)."""
    return _binary(b, "floor_divide", x, y)


def remainder(b: Builder, x: Operand, y: Operand) -> Value:
    """x - floor(x / y) y, with the sign of y."""
    return _binary(b, "remainder", x, y)


def equal(b: Builder, x: Operand, y: Operand) -> Value:
    """x == y."""
    return _binary(b, "equal", x, y)


def not_equal(b: Builder, x: Operand, y: Operand) -> Value:
    """x != y."""
    return _binary(b, "not_equal", x, y)


def less(b: Builder, x: Operand, y: Operand) -> Value:
    """x < y."""
    return _binary(b, "less", x, y)


def less_equal(b: Builder, x: Operand, y: Operand) -> Value:
    """x <= y."""
    return _binary(b, "less_equal", x, y)


def greater(b: Builder, x: Operand, y: Operand) -> Value:
    """x > y."""
    return _binary(b, "greater", x, y)


def greater_equal(b: Builder, x: Operand, y: Operand) -> Value:
    """x >= y."""
    return _binary(b, "greater_equal", x, y)


def divide(b: Builder, x: Operand, y: Operand) -> Value:
    """x / y, always a float."""
    dtype = common_dtype((x, y))
    return emit(b, "divide", *to_values(b, (x, y), dtype if is_float(dtype) else DEFAULT_FLOAT))


def logical_and(b: Builder, x: Operand, y: Operand) -> Value:
    """x and y; what is not bool counts as true unless zero."""
    return _logical(b, "logical_and", x, y)


def logical_or(b: Builder, x: Operand, y: Operand) -> Value:
    """x or y; what is not bool counts as true unless zero."""
    return _logical(b, "logical_or", x, y)


def logical_xor(b: Builder, x: Operand, y: Operand) -> Value:
    """Whether exactly one of x and y holds."""
    return _logical(b, "not_equal", x, y)


def logical_not(b: Builder, x: Operand) -> Value:
    """not x; what is not bool counts as true unless zero."""
    return _logical(b, "logical_not", x)


def where(b: Builder, condition: Value, x: Operand, y: Operand) -> Value:
    """x where the condition holds, else y; two Python numbers give their default dtype."""
    condition = cast(b, condition, "bool")
    if not isinstance(x, Value) and not isinstance(y, Value):
        kinds = [as_value(b, number).type.dtype for number in (x, y)]
        dtype = promote(*kinds)
    else:
        dtype = common_dtype((x, y))
    shape = broadcast_shapes(condition.type.shape, *(v.type.shape for v in (x, y) if isinstance(v, Value)))
    sides = [fit(b, side, shape, dtype) for side in (x, y)]
    return emit(b, "select", broadcast_to(b, condition, shape), *sides)


def clip(b: Builder, x: Operand, low: Operand, high: Operand) -> Value:
    """min(max(x, low), high)."""
    return minimum(b, maximum(b, x, low), high)


def negative(b: Builder, x: Operand) -> Value:
    """-x."""
    return emit(b, "negative", _as_number(b, x))


def absolute(b: Builder, x: Operand) -> Value:
    """|x|."""
    return emit(b, "absolute", _as_number(b, x))


def sign(b: Builder, x: Operand) -> Value:
    """-1, 0 or 1."""
    return emit(b, "sign", _as_number(b, x))


def exp(b: Builder, x: Operand) -> Value:
    """e ** x."""
    return emit(b, "exp", as_float(b, x))


def expm1(b: Builder, x: Operand) -> Value:
    """e ** x - 1."""
    return emit(b, "expm1", as_float(b, x))


def log(b: Builder, x: Operand) -> Value:
    """Natural logarithm."""
    return emit(b, "log", as_float(b, x))


def log1p(b: Builder, x: Operand) -> Value:
    """log(1 + x)."""
    return emit(b, "log1p", as_float(b, x))


def sqrt(b: Builder, x: Operand) -> Value:
    """Square root."""
    return emit(b, "sqrt", as_float(b, x))


def rsqrt(b: Builder, x: Operand) -> Value:
    """1 / sqrt(x)."""
    return emit(b, "rsqrt", as_float(b, x))


def tanh(b: Builder, x: Operand) -> Value:
    """Hyperbolic tangent."""
    return emit(b, "tanh", as_float(b, x))


def sigmoid(b: Builder, x: Operand) -> Value:
    """1 / (1 + e ** -x)."""
    return emit(b, "sigmoid", as_float(b, x))


def erf(b: Builder, x: Operand) -> Value:
    """The error function."""
    return emit(b, "erf", as_float(b, x))


def normal_density(b: Builder, x: Operand) -> Value:
    """The density of the standard normal distribution."""
    return emit(b, "normal_density", as_float(b, x))


def normal_distribution(b: Builder, x: Operand) -> Value:
    """The share of a standard normal distribution below x."""
    return emit(b, "normal_distribution", as_float(b, x))


def sin(b: Builder, x: Operand) -> Value:
    """Sine of radians."""
    return emit(b, "sin", as_float(b, x))


def cos(b: Builder, x: Operand) -> Value:
    """Cosine of radians."""
    return emit(b, "cos", as_float(b, x))


def floor(b: Builder, x: Operand) -> Value:
    """The greatest integer not above x, as a float."""
    return emit(b, "floor", as_float(b, x))


def ceil(b: Builder, x: Operand) -> Value:
    """The smallest integer not below x, as a float."""
    return emit(b, "ceil", as_float(b, x))


def round(b: Builder, x: Operand) -> Value:
    """The nearest integer, halves to even, as a float."""
    return emit(b, "round", as_float(b, x))


def relu(b: Builder, x: Operand) -> Value:
    """max(x, 0)."""
    return emit(b, "relu", _as_number(b, x))


def is_nan(b: Builder, x: Operand) -> Value:
    """Where x is not a number."""
    return emit(b, "is_nan", as_float(b, x))


def square(b: Builder, x: Value) -> Value:
    """x * x."""
    return multiply(b, x, x)


def reciprocal(b: Builder, x: Value) -> Value:
    """1 / x."""
    return divide(b, 1.0, x)


def stop_gradient(b: Builder, x: Value) -> Value:
    """x itself, through which no gradient flows."""
    return emit(b, "stop_gradient", x)
