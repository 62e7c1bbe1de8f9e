"""x**y: float32 by float64 log2 and exp2, float64 by libm; and the remainder family."""

from __future__ import annotations

import math
from typing import Any

from compiler.codegen.scalar_math_emitter import Emitter

__all__ = ["floor_divide", "power", "remainder"]

_SQRT_HALF = math.sqrt(0.5)
# log2(m) / s in powers of s**2 for s = (m - 1) / (m + 1), m between sqrt(1/2) and sqrt(2): minimax, 2**-45.
_LOG2 = (
    0.2829030439121063,
    0.31990551215970403,
    0.41220925641457923,
    0.5770779423302786,
    0.9617966941134394,
    2.88539008177785,
)
# (2**f - 1) / f for |f| <= 1/2: minimax, 2**-38.
_EXP2 = (
    1.3363563877377186e-06,
    1.531202422488967e-05,
    0.00015403373826906853,
    0.0013333447028227902,
    0.009618128355451828,
    0.05550410938437631,
    0.2402265070533495,
    0.6931471805481946,
)


def _log2(wide: Emitter, x: Any) -> Any:
    """log2 of a normal positive float64; exactly 0 at 1."""
    exponent, mantissa = wide.split(wide.as_integer(x), _SQRT_HALF)
    one = wide.constant(1.0)
    s = wide.divide(wide.subtract(mantissa, one), wide.add(mantissa, one))
    return wide.fma(s, wide.horner(wide.multiply(s, s), _LOG2), wide.integer_to_float(exponent))


def _exp2(wide: Emitter, x: Any) -> Any:
    """2**x in float64, x clamped to where float32 is infinite or zero."""
    clamped = wide.at_least(wide.at_most(x, 200.0), -200.0)
    number, exponent = wide.round_to_integer(clamped, 1.0)
    f = wide.subtract(clamped, number)
    return wide.multiply(wide.horner(f, (*_EXP2, 1.0)), wide.power_of_two(exponent))


def power(e: Emitter, x: Any, y: Any) -> Any:
    """x**y as C's `pow`: 1 for y = 0 or x = 1 even with NaN; negative x has a result for integer y only.

    float32: error below 0.51 ulp over random arguments.
    """
    if e.format.bits == 64:
        return e.call("pow", x, y)
    builder, wide = e.builder, e.to("float64")
    zero, one, infinity = (e.constant(value) for value in (0.0, 1.0, math.inf))
    magnitude = e.magnitude(x)
    finite = e.compare("<", magnitude, infinity)
    logarithm = e.select(finite, _log2(wide, wide.convert(magnitude)), wide.convert(magnitude))
    logarithm = e.select(e.compare("==", x, zero), wide.constant(-math.inf), logarithm)
    result = e.convert(_exp2(wide, wide.multiply(wide.convert(y), logarithm)))

    integral = e.compare("==", e.call("trunc", y), y)
    half = e.multiply(y, e.constant(0.5))
    odd = builder.and_(integral, e.compare("!=", e.call("trunc", half), half))
    result = e.select(odd, e.copy_sign(result, x), result)
    below = builder.and_(e.compare("<", x, zero), finite)
    # `y` itself where it is NaN or infinite keeps the rules for those; a finite fraction has no real power.
    fractional = e.compare("!=", e.call("trunc", y), y)
    result = e.select(builder.and_(below, fractional), e.constant(math.nan), result)
    unit = builder.or_(e.compare("==", y, zero), e.compare("==", x, one))
    endless = builder.and_(e.compare("==", x, e.constant(-1.0)), e.compare("==", e.magnitude(y), infinity))
    return e.select(builder.or_(unit, endless), one, result)


def _divide_with_rest(e: Emitter, a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient rounded down and remainder with the sign of b, by NumPy's rules (`npy_divmod`).

    The exact remainder of C's fmod is a call of libm: a loop with it is not vectorised.
    """
    zero = e.constant(0.0)
    rest = e.remainder(a, b)
    quotient = e.divide(e.subtract(a, rest), b)
    exact = e.compare("==", rest, zero)
    opposite = e.builder.xor(e.compare("<", b, zero), e.compare("<", rest, zero))
    down = e.builder.and_(e.builder.not_(exact), opposite)
    lowered = e.select(down, e.subtract(quotient, e.constant(1.0)), quotient)
    raised = e.select(down, e.add(rest, b), e.select(exact, e.copy_sign(zero, b), rest))
    whole = e.call("floor", lowered)
    short = e.compare(">", e.subtract(lowered, whole), e.constant(0.5))
    whole = e.select(short, e.add(whole, e.constant(1.0)), whole)
    ratio = e.divide(a, b)
    whole = e.select(e.compare("==", lowered, zero), e.copy_sign(zero, ratio), whole)
    return e.select(e.compare("==", b, zero), ratio, whole), raised


def floor_divide(e: Emitter, a: Any, b: Any) -> Any:
    """Floor of a / b as `numpy.floor_divide`; infinity or NaN where b is 0. Calls libm's fmod."""
    return _divide_with_rest(e, a, b)[0]


def remainder(e: Emitter, a: Any, b: Any) -> Any:
    """a - floor(a / b) * b with the sign of b as `numpy.remainder`; NaN where b is 0. Calls libm's fmod."""
    return _divide_with_rest(e, a, b)[1]
