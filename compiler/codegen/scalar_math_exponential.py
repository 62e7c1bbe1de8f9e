"""exp, expm1, tanh, sigmoid and erf as branch-free sequences of fused multiply-adds and selects.

Every function takes an `Emitter` of either format and a value, and returns a value. Error bounds are in units
in the last place (ulp) against the true result: float32 over every input with 2**-14 <= |x| < 128 and one in
sixteen of the others (`benchmarks/scalar_math_exhaustive.py`), float64 over samples (the tests). The polynomials
are minimax fits for the relative error of the function (Remez exchange, each coefficient rounded before the rest
were refitted), highest power first.

Sources: range reduction after Cody and Waite, "Software Manual for the Elementary Functions" (1980), with the
product n*ln2 made exact by fma; the split form of erf after W. J. Cody, "Rational Chebyshev approximations
for the error function" (1969), with log(erfc) in place of erfc.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler.codegen.scalar_math_emitter import Emitter

__all__ = ["erf", "exp", "exp_of_sum", "expm1", "sigmoid", "tanh"]

_LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class _ExponentialTable:
    """Constants of one format.

    `exp` and `expm1` approximate (expm1(r) - r) / r**2 on |r| <= ln(2)/2. ln(2) = ln2_high + ln2_low.
    Beyond `overflow` exp is infinite, below `underflow` it is zero; expm1 is -1 below `minus_one`; tanh is 1
    from `tanh_one`; erf is 1 from `erf_one`.
    """

    exp: tuple[float, ...]
    expm1: tuple[float, ...]
    ln2_high: float
    ln2_low: float
    overflow: float
    underflow: float
    minus_one: float
    tanh_one: float
    erf_one: float
    tiny: float
    tanh_split: float
    tanh: tuple[float, ...]
    erf_split: float
    erf_near: tuple[float, ...]
    erf_far: tuple[float, ...]


_EXPM1_FLOAT64 = (
    2.090150921888639e-09,
    2.510978694524454e-08,
    2.755732337826043e-07,
    2.7557242346705403e-06,
    2.4801587260473074e-05,
    0.00019841269887637018,
    0.0013888888888918247,
    0.008333333333321199,
    0.04166666666666661,
    0.16666666666666677,
    0.5,
)

_TABLES = {
    "float32": _ExponentialTable(
        exp=(
            0.0013841467443853617,
            0.008369370363652706,
            0.04166807979345322,
            0.16666515171527863,
            0.4999999403953552,
        ),
        expm1=(
            0.00015047582564875484,
            0.001393053913488984,
            0.00834150891751051,
            0.041666511446237564,
            0.16666635870933533,
            0.5,
        ),
        ln2_high=0.693147182464599609375,
        ln2_low=-1.904654299957768e-09,
        overflow=89.0,
        underflow=-104.0,
        minus_one=-18.0,
        tanh_one=10.0,
        erf_one=4.0,
        tiny=2.0**-26,
        tanh_split=0.55,
        tanh=(
            -0.0062428489327430725,
            0.02105071395635605,
            -0.0538475476205349,
            0.13332544267177582,
            -0.33333316445350647,
        ),
        erf_split=0.93,
        erf_near=(
            7.996649947017431e-05,
            -0.0008049769676290452,
            0.005192405078560114,
            -0.02685573138296604,
            0.11283625662326813,
            -0.3761262893676758,
            0.12837916612625122,
        ),
        erf_far=(
            -1.142299788625678e-05,
            0.00032472380553372204,
            -0.0036502699367702007,
            0.02377859130501747,
            -0.10625607520341873,
            -0.6351397037506104,
            -0.12865135073661804,
        ),
    ),
    "float64": _ExponentialTable(
        exp=_EXPM1_FLOAT64,
        expm1=_EXPM1_FLOAT64,
        ln2_high=0.6931471805599453,
        ln2_low=2.3190468138462996e-17,
        overflow=710.0,
        underflow=-746.0,
        minus_one=-38.0,
        tanh_one=20.0,
        erf_one=6.0,
        tiny=2.0**-55,
        tanh_split=0.55,
        tanh=(
            -1.9453605821268976e-05,
            8.325226459684572e-05,
            -0.00023333854111099876,
            0.0005884283214600385,
            -0.001455539115763619,
            0.0035920914860020758,
            -0.008863232551577558,
            0.021869488383115962,
            -0.053968253963678985,
            0.13333333333326516,
            -0.333333333333333,
        ),
        erf_split=1.0,
        erf_near=(
            -7.609212454239162e-10,
            1.3617378081206389e-08,
            -1.6184130904168266e-07,
            1.6444166491156507e-06,
            -1.4924466736945198e-05,
            0.00012055280543503747,
            -0.0008548325486227457,
            0.005223977596754511,
            -0.026866170641960584,
            0.11283791670936955,
            -0.37612638903183343,
            0.12837916709551256,
        ),
        erf_far=(
            -1.3809894305564187e-06,
            -1.4246187417196034e-05,
            -2.712735820142315e-05,
            2.7696675332637133e-05,
            0.00017436181884777484,
            4.354559261489895e-05,
            -0.000981978579843013,
            -0.0008471431747512528,
            0.006997461773368146,
            0.0037328924060579254,
            -0.07897858101584644,
            0.24165819424245744,
            -0.4271858474139584,
            0.25539567631050575,
        ),
    ),
}


def _reduce(e: Emitter, x: Any) -> tuple[Any, Any, Any]:
    """x = n*ln2 + remainder: (n as integer, x - n*ln2_high exactly, n as float)."""
    table = _TABLES[e.format.dtype]
    number, exponent = e.round_to_integer(x, _LOG2_E)
    return exponent, e.fma(number, e.constant(-table.ln2_high), x), number


def _exp_parts(e: Emitter, x: Any) -> tuple[Any, Any]:
    """exp(x) = p * 2**n for x within the clamps: (p in [0.7, 1.42], n)."""
    table = _TABLES[e.format.dtype]
    exponent, exact, number = _reduce(e, x)
    r = e.fma(number, e.constant(-table.ln2_low), exact)
    return e.horner(r, (*table.exp, 1.0, 1.0)), exponent


def exp_of_sum(e: Emitter, x: Any, lost: Any) -> tuple[Any, Any]:
    """exp(x + lost) = p * 2**n for x within the clamps of `exp` and what rounding took from it: (p, n)."""
    table = _TABLES[e.format.dtype]
    exponent, exact, number = _reduce(e, x)
    r = e.add(e.fma(number, e.constant(-table.ln2_low), lost), exact)
    return e.horner(r, (*table.exp, 1.0, 1.0)), exponent


def exp(e: Emitter, x: Any) -> Any:
    """e**x; goes through the subnormal results down to 0. Error below 0.90 ulp (float64: 0.9)."""
    table = _TABLES[e.format.dtype]
    clamped = e.at_least(e.at_most(x, table.overflow), table.underflow)
    p, exponent = _exp_parts(e, clamped)
    return e.scale(p, exponent)


def _expm1_parts(e: Emitter, x: Any) -> tuple[Any, Any, Any]:
    """exp(x) - 1 = 2**n * (r + tail) + (2**n - 1): (r, tail, n); r is rounded, tail carries what was lost."""
    table = _TABLES[e.format.dtype]
    exponent, exact, number = _reduce(e, x)
    low = e.constant(-table.ln2_low)
    r = e.fma(number, low, exact)
    lost = e.fma(number, low, e.subtract(exact, r))
    tail = e.fma(e.multiply(r, r), e.horner(r, table.expm1), lost)
    return r, tail, exponent


def expm1(e: Emitter, x: Any) -> Any:
    """e**x - 1 without cancellation near 0; the sign of zero is kept. Below 1.31 ulp (float64: 1.4)."""
    table = _TABLES[e.format.dtype]
    clamped = e.at_least(e.at_most(x, table.overflow), table.minus_one)
    r, tail, exponent = _expm1_parts(e, clamped)
    # Half the result, so that 2**n stays finite up to the overflow threshold.
    half = e.power_of_two(e.builder.sub(exponent, e.integer(1)))
    lead = e.fma(half, r, e.subtract(half, e.constant(0.5)))
    result = e.fma(half, tail, lead)
    result = e.add(result, result)
    # Halving a subnormal number loses a bit, and r + 0 loses the sign of zero.
    return e.select(e.compare("<", e.magnitude(x), e.constant(table.tiny)), x, result)


def tanh(e: Emitter, x: Any) -> Any:
    """Hyperbolic tangent: an odd polynomial near 0, else 1 - 2 / (exp(2|x|) + 1) with the sign of x.

    Error below 1.6 ulp (float64: 1.6).
    """
    table = _TABLES[e.format.dtype]
    one, magnitude = e.constant(1.0), e.magnitude(x)
    clamped = e.at_most(magnitude, table.tanh_one)
    p, exponent = _exp_parts(e, e.add(clamped, clamped))
    growth = e.fma(p, e.power_of_two(exponent), one)
    far = e.subtract(one, e.divide(e.constant(2.0), growth))
    square = e.multiply(x, x)
    near = e.fma(e.multiply(square, x), e.horner(square, table.tanh), x)
    chosen = e.select(e.compare("<", magnitude, e.constant(table.tanh_split)), near, far)
    return e.copy_sign(chosen, x)  # near gives +0 for -0


def sigmoid(e: Emitter, x: Any) -> Any:
    """Logistic function 1 / (1 + exp(-x)); small results keep their relative accuracy, subnormal ones too.

    Error below 1.97 ulp (float64: 1.9).
    """
    table = _TABLES[e.format.dtype]
    p, exponent = _exp_parts(e, e.at_least(e.negate(e.magnitude(x)), table.underflow))
    decay, one = e.scale_down(p, exponent), e.constant(1.0)
    total = e.add(one, decay)
    quotient = e.divide(e.select(e.compare("<", x, e.constant(0.0)), decay, one), total)
    # What rounding took from 1 + decay: it matters while total is near 1, so 1 / total is left out.
    lost = e.subtract(decay, e.subtract(total, one))
    return e.fma(e.negate(quotient), lost, quotient)


def _erf_far(e: Emitter, magnitude: Any) -> Any:
    """erf(t) for t between the split and where it is 1."""
    table = _TABLES[e.format.dtype]
    one = e.constant(1.0)
    if e.format.bits == 32:  # 1 - exp(log(erfc(t)))
        logarithm = e.fma(e.horner(magnitude, table.erf_far), magnitude, e.negate(magnitude))
        p, exponent = _exp_parts(e, logarithm)
        return e.fma(e.negate(p), e.power_of_two(exponent), one)
    # 1 - exp(-t**2) * erfcx(t), the last as a polynomial in (t - 2) / (t + 2).
    two = e.constant(2.0)
    u = e.divide(e.subtract(magnitude, two), e.add(magnitude, two))
    p, exponent = _exp_parts(e, e.negate(e.multiply(magnitude, magnitude)))
    decay = e.multiply(p, e.power_of_two(exponent))
    return e.fma(e.negate(decay), e.horner(u, table.erf_far), one)


def erf(e: Emitter, x: Any) -> Any:
    """Error function: an odd polynomial near 0, else 1 - erfc(|x|) with the sign of x.

    Error below 1.01 ulp (float64: within 2 ulp of libm's).
    """
    table = _TABLES[e.format.dtype]
    magnitude = e.magnitude(x)
    near = e.fma(e.horner(e.multiply(x, x), table.erf_near), x, x)
    far = e.copy_sign(_erf_far(e, e.at_most(magnitude, table.erf_one)), x)
    return e.select(e.compare("<", magnitude, e.constant(table.erf_split)), near, far)
