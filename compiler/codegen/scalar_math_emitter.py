"""A thin layer over llvmlite's builder for floating-point algorithms whose every rounding is meant.

Numba attaches the fast-math flags of a function to every floating-point instruction of its module, those of
intrinsics included. `reassoc` would turn `(1 + x) - x` into `1` and `nsz` would lose the sign of zero, so the
instructions emitted here carry *sealed* flag sets: flags fixed at birth that ignore later additions. They
still inline into the caller and LLVM's loop vectoriser still widens them.

With `lanes > 1` the same algorithms are emitted on LLVM vectors, for kernels that hold their values in vector
registers already (the epilogue of a contraction).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from llvmlite.ir.instructions import FastMathFlags

__all__ = ["FLOAT_FORMATS", "Emitter", "FloatFormat"]


class _SealedFlags(list[str]):
    """Flags of an arithmetic instruction; later additions are ignored."""

    def append(self, flag: str) -> None:
        """Ignore `flag`."""


class _SealedCallFlags(FastMathFlags):  # type: ignore[misc]
    """Fast-math flags of a call; additions after construction are ignored."""

    def __init__(self, flags: Sequence[str] = ()) -> None:
        set.__init__(self, flags)

    def add(self, name: str) -> None:
        """Ignore `name`."""


@dataclass(frozen=True)
class FloatFormat:
    """Layout of an IEEE 754 binary format and the constants that exploit it."""

    dtype: str
    bits: int
    mantissa_bits: int
    bias: int
    suffix: str

    @property
    def rounding_magic(self) -> float:
        """1.5 * 2**mantissa_bits: adding it rounds a small number to an integer held in the low bits."""
        return 1.5 * 2.0**self.mantissa_bits

    @property
    def smallest_normal(self) -> float:
        """Least positive normal number."""
        return float(2.0 ** (1 - self.bias))

    def bit_pattern(self, value: float) -> int:
        """Bits of `value`, rounded to this format, as an unsigned integer."""
        if self.bits == 32:
            return int(struct.unpack("<I", struct.pack("<f", value))[0])
        return int(struct.unpack("<Q", struct.pack("<d", value))[0])


FLOAT_FORMATS = {
    "float32": FloatFormat("float32", 32, 23, 127, "f32"),
    "float64": FloatFormat("float64", 64, 52, 1023, "f64"),
}


class Emitter:
    """Emits exact floating-point and same-width integer operations of one format.

    Values are llvmlite values: scalars, or vectors of `lanes` elements.
    """

    def __init__(self, builder: Any, dtype: str, lanes: int = 1) -> None:
        """Emit through `builder`; `dtype` is "float32" or "float64"."""
        if dtype not in FLOAT_FORMATS:
            raise ValueError(f"Scalar mathematics is defined for {sorted(FLOAT_FORMATS)}. Received: dtype={dtype!r}")
        self.builder = builder
        self.format = FLOAT_FORMATS[dtype]
        self.lanes = lanes
        self.float_type = self._widen(ir.FloatType() if dtype == "float32" else ir.DoubleType())
        self.integer_type = self._widen(ir.IntType(self.format.bits))

    def _widen(self, scalar: Any) -> Any:
        return scalar if self.lanes == 1 else ir.VectorType(scalar, self.lanes)

    def _constant(self, type_: Any, value: Any) -> Any:
        return ir.Constant(type_, value if self.lanes == 1 else [value] * self.lanes)

    def constant(self, value: float) -> Any:
        """`value` rounded to the format."""
        return self._constant(self.float_type, value)

    def integer(self, value: int) -> Any:
        """An integer as wide as the format."""
        return self._constant(self.integer_type, value)

    # Arithmetic. Every instruction is sealed against fast-math flags.

    def _sealed(self, instruction: Any) -> Any:
        instruction.flags = _SealedFlags()
        return instruction

    def add(self, a: Any, b: Any) -> Any:
        """`a + b`, rounded once."""
        return self._sealed(self.builder.fadd(a, b))

    def subtract(self, a: Any, b: Any) -> Any:
        """`a - b`, rounded once."""
        return self._sealed(self.builder.fsub(a, b))

    def multiply(self, a: Any, b: Any) -> Any:
        """`a * b`, rounded once."""
        return self._sealed(self.builder.fmul(a, b))

    def divide(self, a: Any, b: Any) -> Any:
        """`a / b`, rounded once (never through an approximate reciprocal)."""
        return self._sealed(self.builder.fdiv(a, b))

    def remainder(self, a: Any, b: Any) -> Any:
        """C's fmod: exact, the sign of `a`; a call of libm."""
        return self._sealed(self.builder.frem(a, b))

    def call(self, name: str, *arguments: Any, flags: Sequence[str] = ()) -> Any:
        """Call of the LLVM intrinsic `llvm.<name>` on floats of the format, sealed with `flags`."""
        suffix = self.format.suffix if self.lanes == 1 else f"v{self.lanes}{self.format.suffix}"
        symbol = f"llvm.{name}.{suffix}"
        module = self.builder.module
        function = module.globals.get(symbol)
        if function is None:
            function = ir.Function(module, ir.FunctionType(self.float_type, [a.type for a in arguments]), symbol)
        instruction = self.builder.call(function, arguments)
        instruction.fastmath = _SealedCallFlags(flags)
        return instruction

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """`a * b + c`, rounded once."""
        return self.call("fma", a, b, c)

    def negate(self, a: Any) -> Any:
        """`a` with its sign bit flipped."""
        return self.builder.fneg(a)

    def horner(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Polynomial in `x`; `coefficients` from the highest power down."""
        value = self.constant(coefficients[0])
        for coefficient in coefficients[1:]:
            value = self.fma(value, x, self.constant(coefficient))
        return value

    # Comparison and selection.

    def compare(self, relation: str, a: Any, b: Any) -> Any:
        """Ordered comparison: false when either operand is NaN."""
        return self._sealed(self.builder.fcmp_ordered(relation, a, b))

    def is_nan(self, a: Any) -> Any:
        """True where `a` is NaN."""
        return self._sealed(self.builder.fcmp_unordered("uno", a, a))

    def select(self, condition: Any, a: Any, b: Any) -> Any:
        """`a` where `condition` holds, else `b`; the other operand cannot leak."""
        return self.builder.select(condition, a, b)

    def at_most(self, a: Any, limit: float) -> Any:
        """min(a, limit) that lets NaN pass (the order of operands that one `minps` implements)."""
        bound = self.constant(limit)
        return self.select(self.compare(">", a, bound), bound, a)

    def at_least(self, a: Any, limit: float) -> Any:
        """max(a, limit) that lets NaN pass."""
        bound = self.constant(limit)
        return self.select(self.compare("<", a, bound), bound, a)

    # Bits.

    def as_integer(self, a: Any) -> Any:
        """Bits of a float."""
        return self.builder.bitcast(a, self.integer_type)

    def as_float(self, a: Any) -> Any:
        """Float with the bits `a`."""
        return self.builder.bitcast(a, self.float_type)

    def magnitude(self, a: Any) -> Any:
        """Absolute value."""
        return self.call("fabs", a)

    def copy_sign(self, a: Any, sign: Any) -> Any:
        """`a` with the sign bit of `sign`."""
        return self.call("copysign", a, sign)

    def round_to_integer(self, a: Any, factor: float) -> tuple[Any, Any]:
        """`rint(a * factor)` as (float, integer), for results far below 2**mantissa_bits.

        NaN gives NaN and an arbitrary integer; no conversion instruction, which would be poison for NaN.
        """
        magic = self.format.rounding_magic
        shifted = self.fma(a, self.constant(factor), self.constant(magic))
        number = self.subtract(shifted, self.constant(magic))
        return number, self.builder.sub(self.as_integer(shifted), self.integer(self.format.bit_pattern(magic)))

    def integer_to_float(self, a: Any) -> Any:
        """A small integer as float (exact)."""
        magic = self.format.rounding_magic
        bits = self.builder.add(a, self.integer(self.format.bit_pattern(magic)))
        return self.subtract(self.as_float(bits), self.constant(magic))

    def power_of_two(self, exponent: Any) -> Any:
        """2**exponent for an integer that gives a normal number."""
        biased = self.builder.add(exponent, self.integer(self.format.bias))
        return self.as_float(self.builder.shl(biased, self.integer(self.format.mantissa_bits)))

    def scale(self, a: Any, exponent: Any) -> Any:
        """a * 2**exponent, rounded once, overflowing to infinity and going through the subnormal numbers.

        Takes -2*bias < exponent < 2*bias. Scaling in two steps keeps each power of two a normal number.
        """
        half = self.builder.ashr(exponent, self.integer(1))
        rest = self.builder.sub(exponent, half)
        return self.multiply(self.multiply(a, self.power_of_two(half)), self.power_of_two(rest))

    def scale_down(self, a: Any, exponent: Any) -> Any:
        """`scale` for -2*bias + 2 < exponent <= bias / 2, in fewer steps: the last power of two is a constant."""
        lift = self.format.bias // 2 + 1
        lifted = self.power_of_two(self.builder.add(exponent, self.integer(lift)))
        return self.multiply(self.multiply(a, lifted), self.constant(2.0**-lift))

    def split(self, bits: Any, lowest: float) -> tuple[Any, Any]:
        """Bits of a positive normal number as (n, m): the number is m * 2**n with lowest <= m < 2 * lowest.

        `lowest` lies between 1/2 and 1. Other bits give an arbitrary but defined result.
        """
        exponent, field = self.exponent_of(bits, lowest)
        return exponent, self.as_float(self.builder.sub(bits, field))

    def exponent_of(self, bits: Any, lowest: float) -> tuple[Any, Any]:
        """The n of `split`, as an integer and in the place of the exponent field."""
        shift, bias = self.integer(self.format.mantissa_bits), self.format.bias
        # Biased, the shifted number is never negative, and a logical shift exists at every width.
        offset = (bias << self.format.mantissa_bits) - self.format.bit_pattern(lowest)
        biased = self.builder.lshr(self.builder.add(bits, self.integer(offset)), shift)
        exponent = self.builder.sub(biased, self.integer(bias))
        return exponent, self.builder.shl(exponent, shift)

    # Between the formats.

    def to(self, dtype: str) -> Emitter:
        """An emitter of the other format at the same place."""
        return Emitter(self.builder, dtype, self.lanes)

    def convert(self, a: Any) -> Any:
        """`a`, a float of either format, rounded to this one."""
        if a.type == self.float_type:
            return a
        if self.format.bits == 64:
            return self.builder.fpext(a, self.float_type)
        return self.builder.fptrunc(a, self.float_type)
