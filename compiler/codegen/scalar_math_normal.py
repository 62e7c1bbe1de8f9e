"""The normal distribution and its density: one exponential for both, and a quotient of polynomials.

Below the mean the distribution is exp(-x**2 / 2) M(|x|), M falling from 1/2 as 1 / |x| does (Mills's ratio over
sqrt(2 pi)). M is a quotient of polynomials of degrees 4 and 5 (float64: 10 and 11) with positive coefficients, fitted
for the relative error (2**-26, float64 2**-59) after W. J. Cody, "Rational Chebyshev approximations for the error
function" (1969). There is no branch, nothing cancels, and a kernel that computes both computes the exponential once.

To reach: gelu and its derivative in half the cycles of erf and exp, whose chains of multiply-adds are too long for the
processor to look past (62 cycles for 8 elements).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler.codegen.scalar_math_emitter import Emitter
from compiler.codegen.scalar_math_exponential import exp_of_sum

__all__ = ["normal_density", "normal_distribution"]


@dataclass(frozen=True)
class _NormalTable:
    """M = numerator / denominator, highest power first; from `zero` on the distribution below the mean is 0. `density`:
    1 / sqrt(2 pi), rounded, and what that leaves.
    """

    numerator: tuple[float, ...]
    denominator: tuple[float, ...]
    zero: float
    density: tuple[float, float]


_TABLES = {
    "float32": _NormalTable(
        numerator=(0.004153220448642969, 0.04088106006383896, 0.1839689165353775, 0.4392831027507782, 0.5),
        denominator=(
            0.010410469025373459,
            0.1024797260761261,
            0.4714081287384033,
            1.2055473327636719,
            1.6764512062072754,
            1.0,
        ),
        zero=15.0,
        density=(0.3989422917366028, -1.1335170105263179e-8),
    ),
    "float64": _NormalTable(
        numerator=(
            2.1841939157224645817e-7,
            6.8301227250702238895e-6,
            0.00010474310614534725494,
            0.0010250715693504379794,
            0.007041273528835195047,
            0.035341074639996771196,
            0.13110713751106681543,
            0.35547108497401329118,
            0.67723330520669396116,
            0.82643901167628244237,
            0.5,
        ),
        denominator=(
            5.4749622264256447185e-7,
            0.000017120578741890866853,
            0.00026309952765603220112,
            0.0025865939582046200867,
            0.017911312346517042275,
            0.091122169470986539354,
            0.34576707665724711578,
            0.97465321348953005227,
            1.993492032760400027,
            2.8098922385043354009,
            2.4507625841554303211,
            1.0,
        ),
        zero=39.0,
        density=(0.3989422804014327, -2.4923272022777301e-17),
    ),
}


def _decay(e: Emitter, x: Any) -> tuple[Any, Any, Any]:
    """exp(-x**2 / 2) = p * 2**n: (|x|, p, n); what the square's rounding takes is put back."""
    distance = e.at_most(e.magnitude(x), _TABLES[e.format.dtype].zero)
    square = e.multiply(distance, distance)
    lost = e.fma(distance, distance, e.negate(square))
    half = e.constant(-0.5)
    p, exponent = exp_of_sum(e, e.multiply(square, half), e.multiply(lost, half))
    return distance, p, exponent


def normal_density(e: Emitter, x: Any) -> Any:
    """exp(-x**2 / 2) / sqrt(2 pi); goes through the subnormal results down to 0. Error below 1.7 ulp (float64: 2)."""
    _, p, exponent = _decay(e, x)
    high, low = _TABLES[e.format.dtype].density
    return e.scale(e.fma(p, e.constant(high), e.multiply(p, e.constant(low))), exponent)


def normal_distribution(e: Emitter, x: Any) -> Any:
    """The share of a standard normal distribution below x; small results keep their relative accuracy.

    Error below 1.9 ulp (float64: 8, at most 2 where the result is above one half). In float32 the quotient is taken in
    float64, for 5 ns of 8 elements: a product of three rounded factors loses up to 6.
    """
    table = _TABLES[e.format.dtype]
    distance, p, exponent = _decay(e, x)
    wide = e.to("float64")
    far = wide.convert(distance)
    ratio = wide.divide(wide.horner(far, table.numerator), wide.horner(far, table.denominator))
    tail = e.scale(e.convert(wide.multiply(wide.convert(p), ratio)), exponent)
    return e.select(e.compare("<", x, e.constant(0.0)), tail, e.subtract(e.constant(1.0), tail))
