"""Integer arithmetic in the operands' own width.

Numba widens the sum of two int32 to int64, which costs half the vector lanes; these stay narrow and wrap
around as NumPy's do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir

__all__ = ["INTEGER_FUNCTIONS", "multiply_high"]

IntegerEmitter = Callable[..., Any]


def multiply_high(builder: Any, signed: bool, a: Any, b: Any) -> Any:
    """Upper half of the product at twice the width."""
    width = a.type.width
    wide = ir.IntType(2 * width)
    extend = builder.sext if signed else builder.zext
    product = builder.mul(extend(a, wide), extend(b, wide))
    return builder.trunc(builder.lshr(product, ir.Constant(wide, width)), a.type)


def _less(builder: Any, signed: bool, a: Any, b: Any) -> Any:
    return builder.icmp_signed("<", a, b) if signed else builder.icmp_unsigned("<", a, b)


def _maximum(builder: Any, signed: bool, a: Any, b: Any) -> Any:
    return builder.select(_less(builder, signed, a, b), b, a)


def _minimum(builder: Any, signed: bool, a: Any, b: Any) -> Any:
    return builder.select(_less(builder, signed, a, b), a, b)


def _negative(builder: Any, signed: bool, a: Any) -> Any:
    return builder.sub(ir.Constant(a.type, 0), a)


def _absolute(builder: Any, signed: bool, a: Any) -> Any:
    if not signed:
        return a
    return builder.select(_less(builder, True, a, ir.Constant(a.type, 0)), _negative(builder, True, a), a)


def _sign(builder: Any, signed: bool, a: Any) -> Any:
    zero, one = ir.Constant(a.type, 0), ir.Constant(a.type, 1)
    positive = builder.select(builder.icmp_unsigned("!=", a, zero), one, zero)
    if not signed:
        return positive
    return builder.select(_less(builder, True, a, zero), ir.Constant(a.type, -1), positive)


def _quotient_and_rest(builder: Any, signed: bool, a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient rounded down and its remainder; both 0 where b is 0; the least integer over -1 wraps."""
    zero, one = ir.Constant(a.type, 0), ir.Constant(a.type, 1)
    by_zero = builder.icmp_unsigned("==", b, zero)
    if not signed:
        divisor = builder.select(by_zero, one, b)
        quotient = builder.udiv(a, divisor)
        rest = builder.urem(a, divisor)
        return builder.select(by_zero, zero, quotient), rest
    by_minus_one = builder.icmp_signed("==", b, ir.Constant(a.type, -1))
    # The processor traps on both 0 and (least / -1): divide by 1 there and mend the quotient.
    divisor = builder.select(builder.or_(by_zero, by_minus_one), one, b)
    quotient, rest = builder.sdiv(a, divisor), builder.srem(a, divisor)
    opposite = _less(builder, True, builder.xor(rest, divisor), zero)
    down = builder.and_(builder.icmp_unsigned("!=", rest, zero), opposite)
    quotient = builder.sub(quotient, builder.zext(down, a.type))
    rest = builder.add(rest, builder.select(down, divisor, zero))
    quotient = builder.select(by_minus_one, _negative(builder, True, a), quotient)
    return builder.select(by_zero, zero, quotient), rest


def _power(builder: Any, signed: bool, a: Any, b: Any) -> Any:
    """a**b modulo 2**width by repeated squaring; a negative b gives 0, or +-1 for a of +-1, as in XLA."""
    zero, one = ir.Constant(a.type, 0), ir.Constant(a.type, 1)
    result, square = one, a
    for bit in range(a.type.width - signed):
        taken = builder.icmp_unsigned("!=", builder.and_(b, ir.Constant(a.type, 1 << bit)), zero)
        result = builder.select(taken, builder.mul(result, square), result)
        square = builder.mul(square, square)
    if not signed:
        return result
    unit = builder.or_(builder.icmp_signed("==", a, one), builder.icmp_signed("==", a, ir.Constant(a.type, -1)))
    # The low bits of a negative exponent have its parity, all that matters for +-1.
    return builder.select(_less(builder, True, b, zero), builder.select(unit, result, zero), result)


def _shift_right(builder: Any, signed: bool, a: Any, b: Any) -> Any:
    return builder.ashr(a, b) if signed else builder.lshr(a, b)


# Name -> (number of operands, emitter of (builder, signed, *values)).
INTEGER_FUNCTIONS: Mapping[str, tuple[int, IntegerEmitter]] = {
    "add": (2, lambda builder, signed, a, b: builder.add(a, b)),
    "subtract": (2, lambda builder, signed, a, b: builder.sub(a, b)),
    "multiply": (2, lambda builder, signed, a, b: builder.mul(a, b)),
    "floor_divide": (2, lambda builder, signed, a, b: _quotient_and_rest(builder, signed, a, b)[0]),
    "remainder": (2, lambda builder, signed, a, b: _quotient_and_rest(builder, signed, a, b)[1]),
    "power": (2, _power),
    "bitwise_and": (2, lambda builder, signed, a, b: builder.and_(a, b)),
    "bitwise_or": (2, lambda builder, signed, a, b: builder.or_(a, b)),
    "bitwise_xor": (2, lambda builder, signed, a, b: builder.xor(a, b)),
    "bitwise_not": (1, lambda builder, signed, a: builder.not_(a)),
    "shift_left": (2, lambda builder, signed, a, b: builder.shl(a, b)),
    "shift_right": (2, _shift_right),
    "negative": (1, _negative),
    "absolute": (1, _absolute),
    "sign": (1, _sign),
    "maximum": (2, _maximum),
    "minimum": (2, _minimum),
}
