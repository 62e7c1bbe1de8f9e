"""log and log1p as branch-free sequences of fused multiply-adds and selects.

Error bounds are in units in the last place against the true result: float32 over every input with
2**-14 <= |x| < 128 and one in sixteen of the others, float64 over samples. The polynomials are minimax fits for
the relative error (Remez exchange, coefficients rounded one by one), highest power first.

Sources: the float64 logarithm follows the form of fdlibm's `e_log.c` (Sun Microsystems, 1993); the reduction
of log1p, which needs neither a division nor a correction term, follows N. Juffa's published `log1pf`.
"""

from __future__ import annotations

import math
from typing import Any

from compiler.codegen.scalar_math_emitter import Emitter

__all__ = ["log", "log1p"]

_SQRT_HALF = math.sqrt(0.5)

# (log1p(f) - f + f**2/2) / f**3 on sqrt(1/2) - 1 <= f <= sqrt(2) - 1.
_LOG_FLOAT32 = (
    0.06712330132722855,
    -0.11642156541347504,
    0.11880389600992203,
    -0.12409557402133942,
    0.14221450686454773,
    -0.16667892038822174,
    0.20002029836177826,
    -0.25000014901161194,
    0.3333331346511841,
)
# (2*atanh(s)/s - 2) / s**2 in powers of s**2, for s = f / (2 + f).
_LOG_FLOAT64 = (
    0.14795412204273226,
    0.15314106951905407,
    0.18183562005475645,
    0.22222198620387845,
    0.2857142874189813,
    0.39999999999417046,
    0.6666666666666734,
)
_LN2 = {
    "float32": (0.693147182464599609375, -1.904654299957768e-09),
    "float64": (0.6931471805599453, 2.3190468138462996e-17),
}


def _finish(e: Emitter, f: Any, number: Any) -> Any:
    """number*ln2 + log1p(f) for sqrt(1/2) - 1 <= f <= sqrt(2) - 1."""
    high, low = (e.constant(part) for part in _LN2[e.format.dtype])
    square = e.multiply(f, f)
    if e.format.bits == 32:
        tail = e.fma(e.multiply(square, f), e.horner(f, _LOG_FLOAT32), e.multiply(number, low))
        tail = e.fma(e.constant(-0.5), square, tail)
        return e.fma(number, high, e.add(f, tail))
    half_square = e.multiply(square, e.constant(0.5))
    s = e.divide(f, e.add(f, e.constant(2.0)))
    z = e.multiply(s, s)
    series = e.multiply(z, e.horner(z, _LOG_FLOAT64))
    tail = e.fma(s, e.add(half_square, series), e.multiply(number, low))
    return e.fma(number, high, e.subtract(f, e.subtract(half_square, tail)))


def _special(e: Emitter, result: Any, x: Any, distance: Any) -> Any:
    """Infinity and NaN pass; -infinity where `distance` is 0, NaN where it is negative."""
    result = e.select(e.compare("<", x, e.constant(math.inf)), result, x)
    edge = e.select(e.compare("==", distance, e.constant(0.0)), e.constant(-math.inf), e.constant(math.nan))
    return e.select(e.compare("<=", distance, e.constant(0.0)), edge, result)


def log(e: Emitter, x: Any) -> Any:
    """Natural logarithm; -infinity at both zeros, NaN below. Error below 0.83 ulp (float64: 0.8)."""
    mantissa_bits = e.format.mantissa_bits
    subnormal = e.compare("<", x, e.constant(e.format.smallest_normal))
    lifted = e.multiply(x, e.constant(2.0**mantissa_bits))
    bits = e.as_integer(e.select(subnormal, lifted, x))
    exponent, mantissa = e.split(bits, _SQRT_HALF)
    unlifted = e.builder.sub(exponent, e.select(subnormal, e.integer(mantissa_bits), e.integer(0)))
    f = e.subtract(mantissa, e.constant(1.0))
    return _special(e, _finish(e, f, e.integer_to_float(unlifted)), x, x)


def log1p(e: Emitter, x: Any) -> Any:
    """log(1 + x) without cancellation near 0; the sign of zero is kept, -infinity at -1, NaN below.

    Error below 1.39 ulp (float64: 1.2).
    """
    sum_ = e.add(x, e.constant(1.0))
    exponent, field = e.exponent_of(e.as_integer(sum_), _SQRT_HALF)
    # f = (1 + x) * 2**-n - 1 = x * 2**-n + (2**-n - 1): rounded once, and exactly x when n = 0. The power is
    # formed times 4 because 2**-n itself may be subnormal.
    scaled = e.as_float(e.builder.sub(e.as_integer(x), field))
    power = e.as_float(e.builder.sub(e.integer(e.format.bit_pattern(4.0)), field))
    f = e.add(scaled, e.fma(power, e.constant(0.25), e.constant(-1.0)))
    result = _finish(e, f, e.integer_to_float(exponent))
    result = e.select(e.compare("==", x, e.constant(0.0)), x, result)
    return _special(e, result, x, sum_)
