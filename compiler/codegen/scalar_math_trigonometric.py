"""sin and cos: float32 by float64 arithmetic, right for every argument; float64 by libm.

A float32 argument is `x = k * 2**shift` with an integer k below 2**50 wherever shift > 0, so that x * 2/pi
modulo 4 equals k * c modulo 4 for a constant c = 2**shift * 2/pi modulo 4 that two float64 hold. Four ranges
of shift cover the format, chosen by selects: no table, no branch, no loss of accuracy for large arguments.
"""

from __future__ import annotations

from typing import Any

from compiler.codegen.scalar_math_emitter import Emitter

__all__ = ["cos", "sin"]

# sin(pi/2 * f) / f and (cos(pi/2 * f) - 1) / f**2 in powers of f**2 for |f| <= 1/2: minimax, to 2**-37 and
# 2**-43.
_SIN = (
    0.00015819423277623797,
    -0.004681260293444256,
    0.07969258180349863,
    -0.6459640961011491,
    1.5707963267877545,
)
_COS = (
    -2.4856935519471444e-05,
    0.0009191658290980626,
    -0.020863469018354574,
    0.2536695072633912,
    -1.2337005501249254,
)
# From |x| >= threshold on: (threshold, shift, 2**shift * 2/pi modulo 4 as high + low). The first low is
# positive, so that -0 times either is -0.
_RANGES = (
    (0.0, 0, 0.6366197723675813, 7.166494911215068e-17),
    (2.0**51, 28, -1.1058921025544264, 7.617183603001664e-17),
    (2.0**78, 55, -1.417998095063941, -7.725609031762152e-17),
    (2.0**105, 82, 1.3721898094436378, -3.413407372797326e-17),
)


def _quarter_turns(e: Emitter, x: Any) -> tuple[Any, Any]:
    """x * 2/pi modulo 4 as (f, q): |f| <= 1/2 in float64 and q, the whole part modulo 4, in int64."""
    wide = e.to("float64")
    magnitude = e.magnitude(x)
    _, _, high, low = (wide.constant(entry) for entry in _RANGES[0])
    unit = wide.constant(1.0)
    for threshold, shift, range_high, range_low in _RANGES[1:]:
        beyond = e.compare(">=", magnitude, e.constant(threshold))
        unit = wide.select(beyond, wide.constant(2.0**-shift), unit)
        high = wide.select(beyond, wide.constant(range_high), high)
        low = wide.select(beyond, wide.constant(range_low), low)
    k = wide.multiply(wide.convert(x), unit)
    magic = wide.format.rounding_magic
    shifted = wide.fma(k, high, wide.constant(magic))
    whole = wide.subtract(shifted, wide.constant(magic))
    fraction = wide.fma(k, low, wide.fma(k, high, wide.negate(whole)))
    return fraction, wide.as_integer(shifted)


def _sine_of_turns(e: Emitter, fraction: Any, quarter: Any) -> Any:
    """sin(pi/2 * (fraction + quarter))."""
    wide = e.to("float64")
    builder = e.builder
    square = wide.multiply(fraction, fraction)
    sine = wide.multiply(fraction, wide.horner(square, _SIN))
    cosine = wide.fma(square, wide.horner(square, _COS), wide.constant(1.0))
    odd = builder.icmp_unsigned("!=", builder.and_(quarter, wide.integer(1)), wide.integer(0))
    chosen = wide.as_integer(wide.select(odd, cosine, sine))
    sign = builder.shl(builder.and_(quarter, wide.integer(2)), wide.integer(62))
    return e.convert(wide.as_float(builder.xor(chosen, sign)))


def sin(e: Emitter, x: Any) -> Any:
    """Sine of x radians; NaN for infinity, the sign of zero is kept. float32: error below 0.59 ulp for every x."""
    if e.format.bits == 64:
        return e.call("sin", x)
    return _sine_of_turns(e, *_quarter_turns(e, x))


def cos(e: Emitter, x: Any) -> Any:
    """Cosine of x radians; NaN for infinity. float32: error below 0.59 ulp for every x."""
    if e.format.bits == 64:
        return e.call("cos", x)
    fraction, quarter = _quarter_turns(e, x)
    wide = e.to("float64")
    return _sine_of_turns(e, fraction, e.builder.add(quarter, wide.integer(1)))
