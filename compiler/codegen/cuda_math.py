"""Scalar functions of the CUDA target, under the names that kernel source uses: `exp_float32(x)`.

Each function is written once, in Python, on top of a few primitives: NVIDIA's libdevice on a GPU (error bounds:
CUDA C++ Programming Guide, "Mathematical Functions"), NumPy in Numba's simulator. Operands keep their dtype:
where Numba would widen (two int32 give int64) the result is brought back, so that integers wrap around as
NumPy's do, and float constants are of the function's own dtype. float16 can be loaded, stored and converted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from numba import config as numba_config
from numba import cuda as numba_cuda
from numba.cuda import libdevice

__all__ = ["SIMULATED", "scalar_namespace"]

cuda: Any = numba_cuda
config: Any = numba_config

SIMULATED = bool(config.ENABLE_CUDASIM)
FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = ("float16", *FLOATS, *INTEGERS, "bool")

Function = Callable[..., Any]

# Name of a primitive -> its name in libdevice for float64; float32 adds an "f".
LIBDEVICE = {name: name for name in (
    "exp", "expm1", "tanh", "erf", "erfc", "log", "log1p", "sin", "cos", "fmod", "sqrt",
    "floor", "ceil", "rint", "trunc", "fabs", "copysign", "fma",
)} | {"power": "pow"}  # fmt: skip
NUMPY: Mapping[str, Function] = {name: getattr(np, name) for name in LIBDEVICE if hasattr(np, name)}


def _primitive(name: str, dtype: str) -> Function:
    """A primitive of the machine that kernels run on."""
    if not SIMULATED:
        return getattr(libdevice, LIBDEVICE[name] + ("f" if dtype == "float32" else ""))  # type: ignore[no-any-return]
    kind = getattr(np, dtype)
    if name in ("erf", "erfc"):
        return lambda x: kind(getattr(math, name)(x))
    if name == "fma":
        return lambda a, b, c: kind(np.float64(a) * np.float64(b) + np.float64(c))
    return NUMPY[name]


def _device(function: Function) -> Function:
    """A function that kernels can call. The simulator calls it as it is."""
    return function if SIMULATED else cuda.jit(device=True)(function)


def _float_functions(dtype: str) -> dict[str, Callable[[], Function]]:
    """Makers of the functions of floats, by name."""
    named = {name: name for name in LIBDEVICE} | {"round": "rint", "absolute": "fabs"}
    makers = {name: partial(_primitive, primitive, dtype) for name, primitive in named.items()}
    kind = getattr(np, dtype)
    return makers | {
        "sigmoid": lambda: _sigmoid(kind, _primitive("exp", dtype)),
        "normal_density": lambda: _normal_density(kind, _primitive("exp", dtype)),
        "normal_distribution": lambda: _normal_distribution(kind, _primitive("erfc", dtype)),
        "rsqrt": lambda: _rsqrt(kind, _primitive("sqrt", dtype)),
        "sign": lambda: _sign(kind),
        "maximum": _float_maximum,
        "minimum": _float_minimum,
        "remainder": lambda: _float_remainder(kind, _primitive("fmod", dtype), _primitive("copysign", dtype)),
        "floor_divide": lambda: _float_floor_divide(
            kind, _primitive("fmod", dtype), _primitive("copysign", dtype), _primitive("floor", dtype)
        ),
    }


def _sigmoid(kind: Any, exp: Function) -> Function:
    one, zero = kind(1), kind(0)

    def sigmoid(x):  # type: ignore[no-untyped-def]
        if x >= zero:
            return one / (one + exp(-x))
        decay = exp(x)
        return decay / (one + decay)

    return _device(sigmoid)


def _normal_density(kind: Any, exp: Function) -> Function:
    half, factor = kind(-0.5), kind(1 / math.sqrt(2 * math.pi))
    return _device(lambda x: exp(half * x * x) * factor)


def _normal_distribution(kind: Any, erfc: Function) -> Function:
    half, factor = kind(0.5), kind(-math.sqrt(0.5))
    return _device(lambda x: half * erfc(factor * x))


def _rsqrt(kind: Any, sqrt: Function) -> Function:
    one = kind(1)
    return _device(lambda x: one / sqrt(x))


def _sign(kind: Any) -> Function:
    one, zero = kind(1), kind(0)

    def sign(x):  # type: ignore[no-untyped-def]
        if x > zero:
            return one
        if x < zero:
            return -one
        return zero if x == zero else x  # NaN stays

    return _device(sign)


def _float_maximum() -> Function:
    """NaN if either operand is: a comparison with NaN is false."""
    return _device(lambda a, b: a if (a > b or a != a) else b)


def _float_minimum() -> Function:
    return _device(lambda a, b: a if (a < b or a != a) else b)


def _float_remainder(kind: Any, fmod: Function, copysign: Function) -> Function:
    zero = kind(0)

    def remainder(a, b):  # type: ignore[no-untyped-def]
        rest = fmod(a, b)
        if rest == zero:
            return copysign(zero, b)
        return rest + b if (b < zero) != (rest < zero) else rest

    return _device(remainder)


def _float_floor_divide(kind: Any, fmod: Function, copysign: Function, floor: Function) -> Function:
    """By the rules of NumPy (`npy_divmod`)."""
    zero, half, one = kind(0), kind(0.5), kind(1)

    def floor_divide(a, b):  # type: ignore[no-untyped-def]
        if b == zero:
            return a / b
        rest = fmod(a, b)
        quotient = (a - rest) / b
        if rest != zero and (b < zero) != (rest < zero):
            quotient = quotient - one
        if quotient == zero:
            return copysign(zero, a / b)
        whole = floor(quotient)
        return whole + one if quotient - whole > half else whole

    return _device(floor_divide)


def _integer_functions(dtype: str) -> dict[str, Callable[[], Function]]:
    """Makers of the functions of integers, by name."""
    kind = getattr(np, dtype)
    signed = dtype.startswith("int")
    zero, one = kind(0), kind(1)
    word, shift = np.uint64, np.uint64(32)
    plain: dict[str, Function] = {
        "add": lambda a, b: kind(a + b),
        "subtract": lambda a, b: kind(a - b),
        "multiply": lambda a, b: kind(a * b),
        "bitwise_and": lambda a, b: kind(a & b),
        "bitwise_or": lambda a, b: kind(a | b),
        "bitwise_xor": lambda a, b: kind(a ^ b),
        "bitwise_not": lambda a: kind(~a),
        "shift_left": lambda a, b: kind(a << b),
        "shift_right": lambda a, b: kind(a >> b),
        "maximum": lambda a, b: a if a > b else b,
        "minimum": lambda a, b: a if a < b else b,
        "negative": lambda a: kind(zero - a),
        "absolute": (lambda a: kind(zero - a) if a < zero else a) if signed else (lambda a: a),
        "sign": lambda a: one if a > zero else (kind(zero - one) if a < zero else zero),
    }
    if dtype == "uint32":
        plain["mulhi"] = lambda a, b: kind((word(a) * word(b)) >> shift)
        plain["mullo"] = plain["multiply"]
    makers = {name: partial(_device, function) for name, function in plain.items()}
    return makers | {
        "power": lambda: _integer_power(kind, signed),
        "floor_divide": lambda: _integer_floor_divide(kind, signed),
        "remainder": lambda: _integer_remainder(kind, signed),
    }


def _integer_power(kind: Any, signed: bool) -> Function:
    """Modulo 2**bits by repeated squaring; a negative exponent gives 0, or +-1 for a base of +-1."""
    zero, one, minus = kind(0), kind(1), kind(-1) if signed else kind(0)

    def power(a, b):  # type: ignore[no-untyped-def]
        if signed and b < zero:
            if a == one:
                return one
            if a == minus:
                return minus if (b & one) == one else one
            return zero
        result, square, left = one, a, b
        while left != zero:
            if (left & one) == one:
                result = kind(result * square)
            square = kind(square * square)
            left = kind(left >> one)
        return result

    return _device(power)


def _integer_floor_divide(kind: Any, signed: bool) -> Function:
    """0 where b is 0, as NumPy; the least integer over -1 wraps around."""
    zero, minus = kind(0), kind(-1) if signed else kind(0)

    def floor_divide(a, b):  # type: ignore[no-untyped-def]
        if b == zero:
            return zero
        if signed and b == minus:
            return kind(zero - a)
        return kind(a // b)

    return _device(floor_divide)


def _integer_remainder(kind: Any, signed: bool) -> Function:
    zero, minus = kind(0), kind(-1) if signed else kind(0)

    def remainder(a, b):  # type: ignore[no-untyped-def]
        if b == zero or (signed and b == minus):
            return zero
        return kind(a % b)

    return _device(remainder)


def _cast(source: str, target: str) -> Function:
    """A value of dtype `source` as `target`, by the rules of the CPU's `emit_cast`.

    Float to integer truncates towards zero, saturates, and takes NaN to 0; integer to integer keeps the low
    bits; anything to bool is `value != 0`. To float16 every value goes by way of float32.
    """
    if source == "bool":
        if target == "bool":
            return _device(lambda x: x)
        chosen, otherwise = getattr(np, target)(1), getattr(np, target)(0)
        return _device(lambda x: chosen if x else otherwise)
    if target == "bool":
        return _to_bool(source)
    if target in INTEGERS and source not in INTEGERS:
        return _saturated(source, getattr(np, target))
    if target == "float16" and source != "float32":
        single, half = np.float32, np.float16
        return _device(lambda x: half(single(x)))
    if SIMULATED:
        start, dtype = getattr(np, source), np.dtype(target)
        return lambda x: start(x).astype(dtype)  # a NumPy type refuses Python integers it cannot hold
    kind = getattr(np, target)
    return _device(lambda x: kind(x))


def _to_bool(source: str) -> Function:
    if source == "float16":
        single, zero = np.float32, np.float32(0)
        return _device(lambda x: single(x) != zero)
    nothing = getattr(np, source)(0)
    return _device(lambda x: x != nothing)


def _saturated(source: str, kind: Any) -> Function:
    wide = np.float64 if source == "float64" else np.float32
    limits = np.iinfo(kind)
    least, most, zero = kind(limits.min), kind(limits.max), kind(0)
    low, high = wide(float(limits.min)), wide(float(limits.max) + 1.0)

    def to_integer(x):  # type: ignore[no-untyped-def]
        value = wide(x)
        if value != value:
            return zero
        if value <= low:
            return least
        if value >= high:
            return most
        return kind(value)

    return _device(to_integer)


@cache
def _makers() -> dict[str, Callable[[], Function]]:
    makers: dict[str, Callable[[], Function]] = {}
    for dtype in FLOATS:
        makers |= {f"{name}_{dtype}": make for name, make in _float_functions(dtype).items()}
    for dtype in INTEGERS:
        makers |= {f"{name}_{dtype}": make for name, make in _integer_functions(dtype).items()}
    return makers | {
        f"cast_{source}_{target}": partial(_cast, source, target) for source in DTYPES for target in DTYPES
    }


@cache
def _made(name: str) -> Function:
    return _makers()[name]()


def scalar_namespace(names: Iterable[str]) -> dict[str, Any]:
    """The functions among `names` (those of a code object, say); other names are ignored."""
    return {name: _made(name) for name in dict.fromkeys(names) if name in _makers()}
