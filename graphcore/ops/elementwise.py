"""Elementwise arithmetic, comparison and logic: names and promotion as in `keras.ops`."""

from __future__ import annotations

import math
from typing import Any

from compiler import functions as f
from compiler.ir import Builder, Value
from compiler.types import is_float
from graphcore import settings
from graphcore.dtype_policies import standardize_dtype
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.keras_class import keras_class


def to_float(b: Builder, x: Value) -> Value:
    """Integers and bools become `floatx()`."""
    return x if is_float(x.type.dtype) else f.cast(b, x, settings.floatx())


@keras_class("core", "dtype")
@operation
def cast(b: Builder, x: Tensor, dtype: Any) -> Value:
    """Convert to another element type."""
    return f.cast(b, x, standardize_dtype(dtype))


@keras_class("numpy")
@operation
def add(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 + x2."""
    return f.add(b, x1, x2)


@keras_class("numpy")
@operation
def subtract(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 - x2."""
    return f.subtract(b, x1, x2)


@keras_class("numpy")
@operation
def multiply(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 * x2."""
    return f.multiply(b, x1, x2)


@keras_class("numpy")
@operation
def divide(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 / x2; a float also for integers."""
    return f.divide(b, x1, x2)


@keras_class("numpy")
@operation
def true_divide(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 / x2; a float also for integers."""
    return f.divide(b, x1, x2)


@keras_class("numpy")
@operation
def divide_no_nan(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 / x2, and 0 where x2 is 0; the gradient is 0 there too."""
    zero = f.equal(b, x2, 0)
    quotient = f.divide(b, x1, f.where(b, zero, 1, x2))
    return f.where(b, zero, 0, quotient)


@keras_class("numpy")
@operation
def floor_divide(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """The greatest integer not above x1 / x2."""
    return f.floor_divide(b, x1, x2)


@keras_class("numpy")
@operation
def mod(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 - floor(x1 / x2) x2: the sign of x2."""
    return f.remainder(b, x1, x2)


@keras_class("numpy")
@operation
def power(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 to the power of x2."""
    return f.power(b, x1, x2)


@keras_class("numpy")
@operation
def maximum(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """The greater of two elements; NaN if either is."""
    return f.maximum(b, x1, x2)


@keras_class("numpy")
@operation
def minimum(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """The smaller of two elements; NaN if either is."""
    return f.minimum(b, x1, x2)


@keras_class("numpy")
@operation
def negative(b: Builder, x: Tensor) -> Value:
    """-x."""
    return f.negative(b, x)


@keras_class("numpy")
@operation
def absolute(b: Builder, x: Tensor) -> Value:
    """|x|."""
    return f.absolute(b, x)


@keras_class("numpy", name="Absolute")
@operation
def abs(b: Builder, x: Tensor) -> Value:
    """|x|."""
    return f.absolute(b, x)


@keras_class("numpy")
@operation
def sign(b: Builder, x: Tensor) -> Value:
    """-1, 0 or 1."""
    return f.sign(b, x)


@keras_class("numpy")
@operation
def square(b: Builder, x: Tensor) -> Value:
    """x * x."""
    return f.square(b, x)


@keras_class("numpy")
@operation
def sqrt(b: Builder, x: Tensor) -> Value:
    """Square root; NaN below 0."""
    return f.sqrt(b, to_float(b, x))


@keras_class("math")
@operation
def rsqrt(b: Builder, x: Tensor) -> Value:
    """1 / sqrt(x)."""
    return f.rsqrt(b, to_float(b, x))


@keras_class("numpy")
@operation
def reciprocal(b: Builder, x: Tensor) -> Value:
    """1 / x."""
    return f.reciprocal(b, to_float(b, x))


@keras_class("numpy")
@operation
def exp(b: Builder, x: Tensor) -> Value:
    """e to the power of x."""
    return f.exp(b, to_float(b, x))


@keras_class("numpy")
@operation
def exp2(b: Builder, x: Tensor) -> Value:
    """2 to the power of x."""
    return f.exp(b, f.multiply(b, to_float(b, x), math.log(2)))


@keras_class("numpy")
@operation
def expm1(b: Builder, x: Tensor) -> Value:
    """exp(x) - 1, accurate near 0."""
    return f.expm1(b, to_float(b, x))


@keras_class("numpy")
@operation
def log(b: Builder, x: Tensor) -> Value:
    """Natural logarithm."""
    return f.log(b, to_float(b, x))


@keras_class("numpy")
@operation
def log1p(b: Builder, x: Tensor) -> Value:
    """log(1 + x), accurate near 0."""
    return f.log1p(b, to_float(b, x))


@keras_class("numpy")
@operation
def log2(b: Builder, x: Tensor) -> Value:
    """Logarithm to base 2."""
    return f.multiply(b, f.log(b, to_float(b, x)), 1 / math.log(2))


@keras_class("numpy")
@operation
def log10(b: Builder, x: Tensor) -> Value:
    """Logarithm to base 10."""
    return f.multiply(b, f.log(b, to_float(b, x)), 1 / math.log(10))


@keras_class("numpy")
@operation
def logaddexp(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """log(exp(x1) + exp(x2)) without overflow; two equal infinities give themselves."""
    x1, x2 = f.to_values(b, (x1, x2))
    return log_add_exp(b, to_float(b, x1), to_float(b, x2))


def log_add_exp(b: Builder, x1: Value, x2: Value) -> Value:
    """`logaddexp` of floats, as nodes."""
    largest = f.maximum(b, x1, x2)
    gap = f.where(b, f.equal(b, x1, x2), 0, f.absolute(b, f.subtract(b, x1, x2)))
    return f.add(b, largest, f.log1p(b, f.exp(b, f.negative(b, gap))))


@keras_class("numpy")
@operation
def sin(b: Builder, x: Tensor) -> Value:
    """Sine of radians."""
    return f.sin(b, to_float(b, x))


@keras_class("numpy")
@operation
def cos(b: Builder, x: Tensor) -> Value:
    """Cosine of radians."""
    return f.cos(b, to_float(b, x))


@keras_class("numpy")
@operation
def tan(b: Builder, x: Tensor) -> Value:
    """Tangent of radians."""
    x = to_float(b, x)
    return f.divide(b, f.sin(b, x), f.cos(b, x))


@keras_class("numpy")
@operation
def tanh(b: Builder, x: Tensor) -> Value:
    """Hyperbolic tangent."""
    return f.tanh(b, to_float(b, x))


@keras_class("numpy")
@operation
def sinh(b: Builder, x: Tensor) -> Value:
    """Hyperbolic sine, from expm1 so that small x keep their digits."""
    grown = f.expm1(b, to_float(b, x))
    return f.multiply(b, f.add(b, grown, f.divide(b, grown, f.add(b, grown, 1))), 0.5)


@keras_class("numpy")
@operation
def cosh(b: Builder, x: Tensor) -> Value:
    """Hyperbolic cosine."""
    grown = f.exp(b, to_float(b, x))
    return f.multiply(b, f.add(b, grown, f.reciprocal(b, grown)), 0.5)


@keras_class("math")
@operation
def erf(b: Builder, x: Tensor) -> Value:
    """The error function."""
    return f.erf(b, to_float(b, x))


@keras_class("numpy")
@operation
def floor(b: Builder, x: Tensor) -> Value:
    """The greatest integer not above x, as a float."""
    return f.floor(b, to_float(b, x))


@keras_class("numpy")
@operation
def ceil(b: Builder, x: Tensor) -> Value:
    """The smallest integer not below x, as a float."""
    return f.ceil(b, to_float(b, x))


@keras_class("numpy")
@operation
def trunc(b: Builder, x: Tensor) -> Value:
    """x without its fraction."""
    if not is_float(x.type.dtype):
        return x  # type: ignore[no-any-return]
    return f.where(b, f.less(b, x, 0), f.ceil(b, x), f.floor(b, x))


@keras_class("numpy", "decimals")
@operation
def round(b: Builder, x: Tensor, decimals: int = 0) -> Value:
    """The nearest multiple of 10 to the power of -decimals, halves to even."""
    if not is_float(x.type.dtype):
        return x  # type: ignore[no-any-return]
    if decimals == 0:
        return f.round(b, x)
    scale = 10.0**decimals
    return f.divide(b, f.round(b, f.multiply(b, x, scale)), scale)


@keras_class("numpy", "x_min x_max")
@operation
def clip(b: Builder, x: Tensor, x_min: Tensor, x_max: Tensor) -> Value:
    """min(max(x, x_min), x_max)."""
    return f.minimum(b, f.maximum(b, x, x_min), x_max)


@keras_class("numpy")
@operation
def where(b: Builder, condition: Tensor, x1: Tensor = None, x2: Tensor = None) -> Value:
    """x1 where the condition holds, else x2.

    Raises:
        ValueError: without x1 and x2; the number of results would depend on the numbers.
    """
    if x1 is None or x2 is None:
        raise ValueError(
            "ops.where(condition) alone returns indices whose number depends on the numbers in `condition`, which a "
            "compiled program cannot have. Fix: pass x1 and x2."
        )
    condition = condition if isinstance(condition, Value) else f.full(b, (), bool(condition), "bool")
    return f.where(b, f.cast(b, condition, "bool"), x1, x2)


@keras_class("numpy", "nan posinf neginf")
@operation
def nan_to_num(
    b: Builder, x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Value:
    """NaN and infinities replaced by numbers; by default 0 and the greatest and smallest float."""
    if not is_float(x.type.dtype):
        return x  # type: ignore[no-any-return]
    largest = {"float16": 65504.0, "float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}[x.type.dtype]
    x = f.where(b, f.is_nan(b, x), nan, x)
    x = f.where(b, f.equal(b, x, math.inf), largest if posinf is None else posinf, x)
    return f.where(b, f.equal(b, x, -math.inf), -largest if neginf is None else neginf, x)


@keras_class("core")
@operation
def stop_gradient(b: Builder, variable: Tensor) -> Value:
    """The tensor itself, through which no gradient flows."""
    return f.stop_gradient(b, variable)
