"""Roots, rounding, sign, extrema and fma: functions that one or two instructions compute exactly."""

from __future__ import annotations

from typing import Any

from compiler.codegen.scalar_math_emitter import Emitter

__all__ = [
    "absolute",
    "ceil",
    "floor",
    "fma",
    "maximum",
    "minimum",
    "negative",
    "round_half_even",
    "rsqrt",
    "sign",
    "sqrt",
    "trunc",
]


def sqrt(e: Emitter, x: Any) -> Any:
    """Square root, correctly rounded; NaN below zero, -0 stays -0."""
    return e.call("sqrt", x)


def rsqrt(e: Emitter, x: Any) -> Any:
    """1 / sqrt(x) by two correctly rounded operations, not the approximate one; infinity at 0. Below 1.5 ulp."""
    return e.divide(e.constant(1.0), e.call("sqrt", x))


def floor(e: Emitter, x: Any) -> Any:
    """Greatest integer not above x; exact."""
    return e.call("floor", x)


def ceil(e: Emitter, x: Any) -> Any:
    """Least integer not below x; exact, -0 for -1 < x < 0."""
    return e.call("ceil", x)


def trunc(e: Emitter, x: Any) -> Any:
    """x rounded towards zero; exact."""
    return e.call("trunc", x)


def round_half_even(e: Emitter, x: Any) -> Any:
    """Nearest integer, ties to even (as `numpy.round`); exact."""
    return e.call("roundeven", x)


def absolute(e: Emitter, x: Any) -> Any:
    """|x|; exact."""
    return e.magnitude(x)


def negative(e: Emitter, x: Any) -> Any:
    """-x; exact, flips the sign of zero."""
    return e.negate(x)


def sign(e: Emitter, x: Any) -> Any:
    """-1, 0 or 1, exact; +0 for both zeros, NaN for NaN (as `numpy.sign`)."""
    zero = e.constant(0.0)
    result = e.select(e.compare(">", x, zero), e.constant(1.0), x)
    result = e.select(e.compare("<", x, zero), e.constant(-1.0), result)
    return e.select(e.compare("==", x, zero), zero, result)


def maximum(e: Emitter, a: Any, b: Any) -> Any:
    """The greater operand, NaN if either is NaN; of +0 and -0 either one (as `numpy.maximum`).

    LLVM's `llvm.maximum` rather than selects: the vectoriser knows it as a reduction, too.
    """
    return e.call("maximum", a, b, flags=("nsz",))


def minimum(e: Emitter, a: Any, b: Any) -> Any:
    """The lesser operand, NaN if either is NaN; of +0 and -0 either one (as `numpy.minimum`)."""
    return e.call("minimum", a, b, flags=("nsz",))


def fma(e: Emitter, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""
    return e.fma(a, b, c)
