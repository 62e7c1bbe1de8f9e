"""Typed access to raw memory and conversion between element types, as LLVM instructions.

How elements are held in kernels: floats and integers as themselves; bool is one byte in memory (a `uint8`
when loaded, 0 or 1) and an LLVM `i1` when computed; float16 is its 16 bits in a `uint16`, converted to
float32 for arithmetic (one F16C instruction for eight elements where the processor has it).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from compiler.codegen.scalar_math_emitter import Emitter

__all__ = ["DTYPES", "FLOATS", "INTEGERS", "emit_cast", "integer_bits", "is_signed"]

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = (*FLOATS, *INTEGERS, "bool")

_BIT = ir.IntType(1)
_FLOAT_TYPES = {"float16": ir.HalfType(), "float32": ir.FloatType(), "float64": ir.DoubleType()}


def integer_bits(dtype: str) -> int:
    """Width of an integer dtype."""
    return int(dtype.lstrip("uint"))


def is_signed(dtype: str) -> bool:
    """True for the signed integer dtypes."""
    return dtype.startswith("int")


def emit_cast(builder: Any, value: Any, source: str, target: str) -> Any:
    """`value` of dtype `source` as `target`.

    Float to integer truncates towards zero, saturates, and takes NaN to 0 (what CUDA does; C leaves it
    undefined). Integer to integer keeps the low bits. Anything to bool is `value != 0`, true for NaN. Float
    to float rounds once, to nearest even.
    """
    if source == target and source != "bool":
        return value
    if source == "float16":
        value = builder.bitcast(value, _FLOAT_TYPES["float16"])
        if target == "float64":
            return builder.fpext(value, _FLOAT_TYPES[target])
        value, source = builder.fpext(value, _FLOAT_TYPES["float32"]), "float32"
    if target == "bool":
        return _to_bool(builder, value, source)
    if source == "bool" and value.type != _BIT:
        value = _to_bool(builder, value, source)
    if target == "float16":
        return builder.bitcast(_to_half(builder, value, source), ir.IntType(16))
    if target in FLOATS:
        return _to_float(builder, value, source, _FLOAT_TYPES[target])
    return _to_integer(builder, value, source, target)


def _to_bool(builder: Any, value: Any, source: str) -> Any:
    if value.type == _BIT:
        return value
    if source in FLOATS:
        return builder.fcmp_unordered("!=", value, ir.Constant(value.type, 0.0))
    return builder.icmp_unsigned("!=", value, ir.Constant(value.type, 0))


def _to_float(builder: Any, value: Any, source: str, type_: Any) -> Any:
    if source in FLOATS:
        if value.type == type_:
            return value
        return builder.fpext(value, type_) if type_ == _FLOAT_TYPES["float64"] else builder.fptrunc(value, type_)
    if is_signed(source):
        return builder.sitofp(value, type_)
    return builder.uitofp(value, type_)


def _to_half(builder: Any, value: Any, source: str) -> Any:
    """float16 by way of float32, the only step that processors have.

    Integers that float32 rounds are beyond float16's range; a float64 is first rounded to odd, which makes
    the second rounding right (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    if source != "float64":
        single = _to_float(builder, value, source, _FLOAT_TYPES["float32"])
        return builder.fptrunc(single, _FLOAT_TYPES["float16"])
    e = Emitter(builder, "float32")
    wide = e.to("float64")
    nearest = e.convert(value)
    back = wide.convert(nearest)
    inexact = wide.compare("!=", back, value)
    outward = wide.compare(">", wide.magnitude(back), wide.magnitude(value))
    bits = e.as_integer(nearest)
    truncated = builder.sub(bits, builder.zext(outward, e.integer_type))
    odd = builder.or_(truncated, builder.zext(inexact, e.integer_type))
    return builder.fptrunc(e.as_float(odd), _FLOAT_TYPES["float16"])


def _to_integer(builder: Any, value: Any, source: str, target: str) -> Any:
    type_ = ir.IntType(integer_bits(target))
    if source in FLOATS:
        return _saturate(builder, value, type_, target)
    if source == "bool":
        return builder.zext(value, type_)
    width = integer_bits(source)
    if width >= type_.width:
        return value if width == type_.width else builder.trunc(value, type_)
    return builder.sext(value, type_) if is_signed(source) else builder.zext(value, type_)


def _saturate(builder: Any, value: Any, type_: Any, target: str) -> Any:
    """Truncation by selects: LLVM's own saturating conversion is not widened without AVX-512."""
    bits, signed = type_.width, is_signed(target)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)

    def compare(relation: str, limit: int) -> Any:
        # Powers of two, so exact; 2**64 is far below float32's largest number.
        return builder.fcmp_ordered(relation, value, ir.Constant(value.type, float(limit)))

    above = compare(">=", high)
    inside = builder.and_(compare(">=", low), compare("<", high))  # false for NaN
    safe = builder.select(inside, value, ir.Constant(value.type, 0.0))
    result = builder.fptosi(safe, type_) if signed else builder.fptoui(safe, type_)
    result = builder.select(above, ir.Constant(type_, high - 1), result)
    return builder.select(compare("<", low), ir.Constant(type_, low), result) if signed else result
