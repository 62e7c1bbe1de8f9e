"""Comparisons, truth values and what is a finite number."""

from __future__ import annotations

import math

from compiler import functions as f
from compiler.ir import Builder, Value
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import to_float
from graphcore.ops.keras_class import keras_class


@keras_class("numpy")
@operation
def equal(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 == x2."""
    return f.equal(b, x1, x2)


@keras_class("numpy")
@operation
def not_equal(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 != x2."""
    return f.not_equal(b, x1, x2)


@keras_class("numpy")
@operation
def less(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 < x2."""
    return f.less(b, x1, x2)


@keras_class("numpy")
@operation
def less_equal(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 <= x2."""
    return f.less_equal(b, x1, x2)


@keras_class("numpy")
@operation
def greater(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 > x2."""
    return f.greater(b, x1, x2)


@keras_class("numpy")
@operation
def greater_equal(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 >= x2."""
    return f.greater_equal(b, x1, x2)


@keras_class("numpy")
@operation
def logical_and(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 and x2."""
    return f.logical_and(b, x1, x2)


@keras_class("numpy")
@operation
def logical_or(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """x1 or x2."""
    return f.logical_or(b, x1, x2)


@keras_class("numpy")
@operation
def logical_xor(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """Whether exactly one of x1 and x2 holds."""
    return f.logical_xor(b, x1, x2)


@keras_class("numpy")
@operation
def logical_not(b: Builder, x: Tensor) -> Value:
    """not x."""
    return f.logical_not(b, x)


@keras_class("numpy")
@operation
def isnan(b: Builder, x: Tensor) -> Value:
    """Where x is not a number."""
    return f.is_nan(b, to_float(b, x))


@keras_class("numpy")
@operation
def isinf(b: Builder, x: Tensor) -> Value:
    """Where x is infinite."""
    return f.equal(b, f.absolute(b, to_float(b, x)), math.inf)


@keras_class("numpy")
@operation
def isfinite(b: Builder, x: Tensor) -> Value:
    """Where x is neither infinite nor NaN."""
    return f.less(b, f.absolute(b, to_float(b, x)), math.inf)


@keras_class("numpy", "equal_nan")
@operation
def isclose(
    b: Builder, x1: Tensor, x2: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Value:
    """Where |x1 - x2| <= atol + rtol |x2|."""
    x1, x2 = f.to_values(b, (x1, x2))
    x1, x2 = to_float(b, x1), to_float(b, x2)
    bound = f.add(b, f.multiply(b, f.absolute(b, x2), rtol), atol)
    finite = f.less(b, f.absolute(b, x2), math.inf)
    close = f.logical_and(b, f.less_equal(b, f.absolute(b, f.subtract(b, x1, x2)), bound), finite)
    close = f.logical_or(b, close, f.equal(b, x1, x2))
    both = f.logical_and(b, f.is_nan(b, x1), f.is_nan(b, x2))
    return f.logical_or(b, close, both) if equal_nan else close
