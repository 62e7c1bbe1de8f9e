"""Scalar functions of the CPU target: Numba intrinsics that LLVM's loop vectoriser widens.

A call of libm inside a loop keeps the whole loop scalar. These functions are branch-free sequences of LLVM
operations instead, emitted into the caller, so a loop around them becomes a loop over vectors of whatever
width the target has. `scalar_math_exponential`, `_normal`, `_logarithm`, `_trigonometric`, `_power` and
`_arithmetic` hold the algorithms with their error bounds; here they get their Numba types and names.
Exceptions, which call libm: sin, cos and power of float64, floor_divide and remainder of floats.

Names in kernel source are `<function>_<dtype>`: `exp_float32(x)`, `maximum_int32(a, b)`,
`select_float32(condition, a, b)`, `cast_float32_int32(x)`, `pointer_float32(address)`. Arguments must have
the dtype that the name says; nothing is widened or narrowed in passing. bool values come as Numba booleans
or, loaded from memory, as `uint8`; float16 values as their bits in a `uint16`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from numba import types as numba_types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from compiler.codegen import scalar_math_arithmetic as arithmetic
from compiler.codegen import scalar_math_exponential as exponential
from compiler.codegen import scalar_math_logarithm as logarithm
from compiler.codegen import scalar_math_normal as normal
from compiler.codegen import scalar_math_power as powers
from compiler.codegen import scalar_math_trigonometric as trigonometric
from compiler.codegen.scalar_math_emitter import FLOAT_FORMATS, Emitter
from compiler.codegen.scalar_math_integer import INTEGER_FUNCTIONS, multiply_high
from compiler.codegen.scalar_math_storage import DTYPES, INTEGERS, emit_cast, is_signed

__all__ = ["FLOAT_FUNCTIONS", "SCALAR_FUNCTIONS", "ScalarFunctions", "scalar_namespace"]

# Name -> (number of operands, emitter of (Emitter, *values)); also usable on vectors, see `Emitter`.
FLOAT_FUNCTIONS: Mapping[str, tuple[int, Callable[..., Any]]] = {
    "exp": (1, exponential.exp),
    "expm1": (1, exponential.expm1),
    "tanh": (1, exponential.tanh),
    "sigmoid": (1, exponential.sigmoid),
    "erf": (1, exponential.erf),
    "normal_density": (1, normal.normal_density),
    "normal_distribution": (1, normal.normal_distribution),
    "log": (1, logarithm.log),
    "log1p": (1, logarithm.log1p),
    "sin": (1, trigonometric.sin),
    "cos": (1, trigonometric.cos),
    "power": (2, powers.power),
    "floor_divide": (2, powers.floor_divide),
    "remainder": (2, powers.remainder),
    "sqrt": (1, arithmetic.sqrt),
    "rsqrt": (1, arithmetic.rsqrt),
    "floor": (1, arithmetic.floor),
    "ceil": (1, arithmetic.ceil),
    "round": (1, arithmetic.round_half_even),
    "trunc": (1, arithmetic.trunc),
    "sign": (1, arithmetic.sign),
    "absolute": (1, arithmetic.absolute),
    "negative": (1, arithmetic.negative),
    "maximum": (2, arithmetic.maximum),
    "minimum": (2, arithmetic.minimum),
    "fma": (3, arithmetic.fma),
}

types: Any = numba_types

_NUMBA_TYPES = {dtype: getattr(types, dtype) for dtype in DTYPES if dtype not in ("bool", "float16")} | {
    "bool": types.boolean,
    "float16": types.uint16,
}
_MEMORY_TYPES = _NUMBA_TYPES | {"bool": types.uint8}

_Typed = Callable[..., Any]


def _named_intrinsic(name: str, arity: int, typed: _Typed) -> Any:
    """A Numba intrinsic called `name`; Numba counts the operands on the Python signature."""

    def unary(typing_context, a):  # type: ignore[no-untyped-def]
        return typed(a)

    def binary(typing_context, a, b):  # type: ignore[no-untyped-def]
        return typed(a, b)

    def ternary(typing_context, a, b, c):  # type: ignore[no-untyped-def]
        return typed(a, b, c)

    function = (unary, binary, ternary)[arity - 1]
    function.__name__ = function.__qualname__ = name
    return intrinsic(function)


def _require(name: str, arguments: tuple[Any, ...], accepted: tuple[tuple[Any, ...], ...]) -> None:
    for position, (argument, choices) in enumerate(zip(arguments, accepted, strict=True)):
        if argument not in choices:
            expected = " or ".join(str(choice) for choice in choices)
            raise TypingError(
                f"{name}: argument {position} must be {expected}. Received: {argument}. Cast it explicitly."
            )


def _define(name: str, operands: list[tuple[Any, ...]], result: Any, emit: Callable[..., Any]) -> Any:
    """Intrinsic `name` of operands of the listed types; `emit(builder, *values)` gives its code."""

    def typed(*arguments: Any) -> Any:
        arguments = tuple(types.unliteral(argument) for argument in arguments)
        _require(name, arguments, tuple(operands))

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return emit(builder, *values)

        return result(*arguments), generate

    return _named_intrinsic(name, len(operands), typed)


def _define_float(function: str, dtype: str) -> Any:
    arity, emit = FLOAT_FUNCTIONS[function]
    kind = _NUMBA_TYPES[dtype]
    return _define(
        f"{function}_{dtype}",
        [(kind,)] * arity,
        kind,
        lambda builder, *values: emit(Emitter(builder, dtype), *values),
    )


def _define_integer(function: str, dtype: str) -> Any:
    arity, emit = INTEGER_FUNCTIONS[function]
    kind, signed = _NUMBA_TYPES[dtype], is_signed(dtype)
    return _define(
        f"{function}_{dtype}",
        [(kind,)] * arity,
        kind,
        lambda builder, *values: emit(builder, signed, *values),
    )


def _define_select(dtype: str) -> Any:
    kind = _NUMBA_TYPES[dtype]
    return _define(
        f"select_{dtype}",
        [(types.boolean,), (kind,), (kind,)],
        kind,
        lambda builder, condition, a, b: builder.select(condition, a, b),
    )


def _keys() -> Iterator[tuple[str, str]]:
    for dtype in FLOAT_FORMATS:
        yield from ((function, dtype) for function in FLOAT_FUNCTIONS)
    for dtype in INTEGERS:
        yield from ((function, dtype) for function in INTEGER_FUNCTIONS)
    yield from (("select", dtype) for dtype in DTYPES)


class ScalarFunctions(Mapping[tuple[str, str], Any]):
    """(function name, dtype) -> Numba intrinsic, made when first asked for (each costs 0.2 ms)."""

    def __init__(self) -> None:
        self._keys = dict.fromkeys(_keys())
        self._made: dict[tuple[str, str], Any] = {}

    def __getitem__(self, key: tuple[str, str]) -> Any:
        """The intrinsic of a function at a dtype.

        Raises:
            KeyError: if the function does not exist at that dtype.
        """
        if key not in self._keys:
            raise KeyError(key)
        if key not in self._made:
            function, dtype = key
            if function == "select":
                self._made[key] = _define_select(dtype)
            else:
                self._made[key] = (_define_float if dtype in FLOAT_FORMATS else _define_integer)(function, dtype)
        return self._made[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


SCALAR_FUNCTIONS: Mapping[tuple[str, str], Any] = ScalarFunctions()


@cache
def _pointer(dtype: str) -> Any:
    """`pointer_<dtype>(address)`: an int64 byte address as a pointer that is indexed by element.

    `pointer_bool` points to bytes: a load gives a `uint8`, `truth(p[i])` makes it a boolean, a boolean may be
    stored directly. `pointer_float16` points to `uint16` bit patterns.
    """
    pointer = types.CPointer(_MEMORY_TYPES[dtype])

    def typed(address: Any) -> Any:
        if not isinstance(address, types.Integer):
            raise TypingError(f"pointer_{dtype}: the address must be an integer. Received: {address}.")

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(pointer))

        return pointer(types.int64), generate

    return _named_intrinsic(f"pointer_{dtype}", 1, typed)


@cache
def _cast(source: str, target: str) -> Any:
    """`cast_<source>_<target>(x)`, see `emit_cast` for what it does at the edges."""
    accepted = {_NUMBA_TYPES[source], _MEMORY_TYPES[source]}
    return _define(
        f"cast_{source}_{target}",
        [tuple(sorted(accepted, key=str))],
        _NUMBA_TYPES[target],
        lambda builder, value: emit_cast(builder, value, source, target),
    )


@cache
def _extras() -> dict[str, Any]:
    """Names that are no (function, dtype) pair."""
    word = types.uint32
    return {
        "mulhi_uint32": _define(
            "mulhi_uint32", [(word,)] * 2, word, lambda builder, a, b: multiply_high(builder, False, a, b)
        ),
        "mullo_uint32": _define("mullo_uint32", [(word,)] * 2, word, lambda builder, a, b: builder.mul(a, b)),
        "truth": _define(
            "truth",
            [(types.boolean, types.uint8)],
            types.boolean,
            lambda builder, value: emit_cast(builder, value, "bool", "bool"),
        ),
    }


@cache
def _makers() -> dict[str, Callable[[], Any]]:
    makers: dict[str, Callable[[], Any]] = {
        f"{function}_{dtype}": lambda key=(function, dtype): SCALAR_FUNCTIONS[key]  # type: ignore[misc]
        for function, dtype in SCALAR_FUNCTIONS
    }
    makers |= {f"pointer_{dtype}": lambda dtype=dtype: _pointer(dtype) for dtype in DTYPES}  # type: ignore[misc]
    makers |= {
        f"cast_{source}_{target}": lambda source=source, target=target: _cast(source, target)  # type: ignore[misc]
        for source in DTYPES
        for target in DTYPES
    }
    return makers | {name: lambda name=name: _extras()[name] for name in _extras()}


def scalar_namespace(names: Iterable[str] | None = None) -> dict[str, Any]:
    """A fresh dictionary of intrinsics to execute kernel source in.

    `names` limits it to those among them that exist here (the others are ignored, so the names of a compiled
    code object, `code.co_names`, may be passed as they are); without it all of some 400 are made, which takes
    a tenth of a second.
    """
    makers = _makers()
    wanted = makers if names is None else [name for name in dict.fromkeys(names) if name in makers]
    return {name: makers[name]() for name in wanted}
