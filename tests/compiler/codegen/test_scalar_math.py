"""Floating-point scalar functions: error bounds, edges, vectorisation, and that fast-math leaves them alone."""

from __future__ import annotations

import functools
import math
import platform
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llvmlite import ir
from numba import njit, types
from numba.core import fastmathpass
from numba.core.cpu_options import FastMathOptions
from numba.core.errors import TypingError
from numba.extending import intrinsic

from compiler.codegen.scalar_math import FLOAT_FUNCTIONS, SCALAR_FUNCTIONS, scalar_namespace
from compiler.codegen.scalar_math_emitter import Emitter

FAST_MATH = {"nsz", "contract", "reassoc", "arcp"}
LIBM_CALLS = {"floor_divide", "remainder"}
FORMATS = {"float32": (23, -126, 127), "float64": (52, -1022, 1023)}
SCALARS = {"math": math, "float32": np.float32, "float64": np.float64}

Loop = Callable[..., None]


@functools.cache
def loop(expression: str, dtype: str = "float32", arity: int = 1, fast: bool = True, wrapper: bool = True) -> Any:
    """Compiled loop of `expression` in a[i], b[i], c[i] with the flags of generated kernels."""
    names = "abc"[:arity]
    lines = [f"def loop({', '.join(f'{n}_' for n in names)}, target_, count):"]
    lines += [f"    {name} = pointer_{dtype}({name}_)" for name in (*names, "target")]
    lines += ["    for i in range(count):", f"        target[i] = {expression}"]
    code = compile("\n".join(lines), "<loop>", "exec")
    scope = scalar_namespace(code.co_consts[0].co_names) | SCALARS
    exec(code, scope)
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": FAST_MATH if fast else False}
    if not wrapper:
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(types.void(*[types.int64] * (arity + 2)), **options)(scope["loop"])


def apply(function: str, *inputs: np.ndarray, fast: bool = True) -> np.ndarray:
    """Values of a scalar function, computed by a vectorised loop."""
    dtype = inputs[0].dtype.name
    arguments = ", ".join(f"{name}[i]" for name in "abc"[: len(inputs)])
    held = [np.ascontiguousarray(array) for array in inputs]
    result = np.empty_like(held[0])
    kernel = loop(f"{function}_{dtype}({arguments})", dtype, len(inputs), fast)
    kernel(*(array.ctypes.data for array in held), result.ctypes.data, result.size)
    return result


def ulps(result: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Errors in units in the last place; NaN on both sides is 0, on one side or a wrong sign of zero infinite.

    Overflow counts as the power of two after the largest number.
    """
    bits, lowest, highest = FORMATS[result.dtype.name]
    limit = np.ldexp(np.ones_like(true), highest) * 2
    both_nan, one_nan = np.isnan(true) & np.isnan(result), np.isnan(true) ^ np.isnan(result)
    exact = np.clip(np.where(np.isnan(true), 0, true), -limit, limit)
    got = np.clip(np.where(np.isnan(result), 0, result).astype(true.dtype), -limit, limit)
    step = np.ldexp(np.ones_like(true), np.clip(np.frexp(exact)[1] - 1, lowest, highest) - bits)
    with np.errstate(invalid="ignore"):
        error = np.where(exact == got, 0, np.abs(got - exact) / step)  # both infinite in float64: equal
    sign = (exact == 0) & (got == 0) & (np.signbit(exact) != np.signbit(got)) & ~both_nan
    return np.where(one_nan | sign, np.inf, error)


EDGES = (
    0.0, 0.34657359, 0.5, 0.55, 0.69314718, 0.70710678, 0.93, 1.0, 1.41421356, 2.0, 3.92, 4.0, 9.01, 10.0, 17.3,
    87.33655, 88.72284, 89.0, 103.972, 104.0, 2.0**-149, 2.0**-126, 2.0**-26, 2.0**23, 2.0**24, 2.0**31, 2.0**51,
    2.0**78, 2.0**105, math.pi / 2, math.pi, 355.0, 3.4028234e38, math.inf,
)  # fmt: skip


@functools.cache
def float32_inputs() -> np.ndarray:
    """Every 4093rd bit pattern (NaNs and subnormals among them), all around the edges, dense near 0."""
    spread = np.arange(0, 1 << 32, 4093, dtype=np.uint64).astype(np.uint32)
    edges = np.array(EDGES, np.float32).view(np.uint32).astype(np.int64)[:, None] + np.arange(-300, 301)
    edges = edges[(edges >= 0) & (edges <= 0x7FC00000)].astype(np.uint32)
    bits = np.concatenate([spread, edges, edges | np.uint32(1 << 31)])
    dense = np.concatenate([np.linspace(-2, 2, 200_003), np.linspace(-110, 110, 200_003)])
    return np.concatenate([bits.view(np.float32), dense.astype(np.float32)])


@functools.cache
def float64_inputs() -> np.ndarray:
    generator = np.random.default_rng(7)
    bits = generator.integers(0, 1 << 64, 100_000, dtype=np.uint64).view(np.float64)
    edges = np.array((*EDGES, 709.782712893384, 745.13, 2.0**-1074, 2.0**-1022, 1.7976931348623157e308))
    with np.errstate(over="ignore"):
        near = np.concatenate([np.nextafter(edges, 0), edges, np.nextafter(edges, np.inf)])
    dense = np.concatenate([generator.uniform(-2, 2, 100_000), generator.uniform(-750, 750, 100_000)])
    return np.concatenate([bits, near, -near, dense, generator.normal(scale=1e-4, size=10_000)])


def _erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(value) for value in x.tolist()])


def _normal_density(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.longdouble)
    return np.exp(-wide * wide / 2) / np.sqrt(2 * np.longdouble(math.pi))


def _normal_distribution(x: np.ndarray) -> np.ndarray:
    """By the C library's erfc, corrected for the rounding of its argument, which far from the mean is most of it."""
    exact = -x.astype(np.longdouble) * np.sqrt(np.longdouble(0.5))
    rounded = exact.astype(np.float64)
    share = np.array([math.erfc(value) for value in rounded.tolist()])
    slope = 2 / math.sqrt(math.pi) * np.exp(-rounded * rounded)
    lost = np.where(np.isfinite(rounded) & (slope > 0), (exact - rounded).astype(np.float64) * slope, 0.0)
    return (share - lost) / 2


def _sigmoid(x: np.ndarray) -> np.ndarray:
    decay = np.exp(-np.abs(x))
    return np.where(x < 0, decay, 1) / (1 + decay)


def _sign(x: np.ndarray) -> np.ndarray:
    return np.where(x == 0, 0.0, np.sign(x))


# Function -> (reference in the input's precision, bound in ulp for float32, for float64).
UNARY: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float, float]] = {
    "exp": (np.exp, 0.91, 1.0),
    "expm1": (np.expm1, 1.4, 2.0),
    "log": (np.log, 0.85, 1.0),
    "log1p": (np.log1p, 1.5, 2.0),
    "tanh": (np.tanh, 1.7, 2.0),
    "sigmoid": (_sigmoid, 2.0, 2.0),
    "erf": (_erf, 1.05, 2.0),
    "normal_density": (_normal_density, 1.9, 2.0),
    "normal_distribution": (_normal_distribution, 6.5, 8.0),
    "sin": (np.sin, 0.6, 1.0),
    "cos": (np.cos, 0.6, 1.0),
    "sqrt": (np.sqrt, 0.5, 0.5),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1.5, 1.5),
    "floor": (np.floor, 0, 0),
    "ceil": (np.ceil, 0, 0),
    "trunc": (np.trunc, 0, 0),
    "round": (np.rint, 0, 0),
    "sign": (_sign, 0, 0),
    "absolute": (np.abs, 0, 0),
    "negative": (np.negative, 0, 0),
}


@pytest.mark.parametrize("function", UNARY)
def test_float32_error_against_float64(function: str) -> None:
    reference, bound, _ = UNARY[function]
    x = float32_inputs()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # conversion of signalling NaN
        error = ulps(apply(function, x), reference(x.astype(np.float64)))
    worst = int(np.argmax(error))
    assert error[worst] <= bound, (float(x[worst]), float(error[worst]))


@pytest.mark.parametrize("function", UNARY)
def test_float64_error_against_extended_precision(function: str) -> None:
    reference, _, bound = UNARY[function]
    x = float64_inputs()
    extended = np.finfo(np.longdouble).nmant > 60 and function not in ("erf", "normal_distribution")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        true = reference(x.astype(np.longdouble) if extended else x)
        error = ulps(apply(function, x), np.asarray(true))
    worst = int(np.argmax(error))
    # A reference in float64 has an error of its own.
    assert error[worst] <= bound + (0 if extended else 1), (float(x[worst]), float(error[worst]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_at_the_edges(dtype: str) -> None:
    infinity, nan = math.inf, math.nan
    expected = {
        "exp": [(0.0, 1.0), (-infinity, 0.0), (infinity, infinity), (nan, nan)],
        "expm1": [(-0.0, -0.0), (-infinity, -1.0), (infinity, infinity)],
        "log": [(0.0, -infinity), (-0.0, -infinity), (-1.0, nan), (1.0, 0.0), (infinity, infinity), (-infinity, nan)],
        "log1p": [(-0.0, -0.0), (-1.0, -infinity), (-2.0, nan), (infinity, infinity), (-infinity, nan)],
        "tanh": [(-0.0, -0.0), (infinity, 1.0), (-infinity, -1.0), (nan, nan)],
        "sigmoid": [(0.0, 0.5), (infinity, 1.0), (-infinity, 0.0), (nan, nan)],
        "erf": [(-0.0, -0.0), (infinity, 1.0), (-infinity, -1.0), (nan, nan)],
        "normal_density": [(infinity, 0.0), (-infinity, 0.0), (nan, nan)],
        "normal_distribution": [(-0.0, 0.5), (0.0, 0.5), (infinity, 1.0), (-infinity, 0.0), (nan, nan)],
        "sin": [(-0.0, -0.0), (infinity, nan)],
        "cos": [(-0.0, 1.0), (-infinity, nan)],
        "sqrt": [(-0.0, -0.0), (-1.0, nan), (infinity, infinity)],
        "rsqrt": [(0.0, infinity), (-0.0, -infinity), (infinity, 0.0), (-1.0, nan)],
        "round": [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, -0.0), (nan, nan)],
        "sign": [(-0.0, 0.0), (-3.0, -1.0), (infinity, 1.0), (nan, nan)],
    }
    for function, table in expected.items():
        result = apply(function, np.array([x for x, _ in table], dtype))
        true = np.array([y for _, y in table], np.longdouble)
        np.testing.assert_array_equal(ulps(result, true), 0, err_msg=function)


def test_exp_is_finite_up_to_the_overflow_threshold() -> None:
    last = np.float32(88.72283)
    assert np.isfinite(apply("exp", np.array([last]))[0])
    assert np.isinf(apply("exp", np.nextafter(np.array([last]), np.float32(100)))[0])
    assert apply("exp", np.array([-103.9], np.float32))[0] == np.float32(2.0**-149)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_power(dtype: str) -> None:
    generator = np.random.default_rng(3)
    special = [0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 2.5, 2.0**24, 2.0**24 + 2, 1e9, 0.999, math.inf, -math.inf, math.nan]
    special += [-0.0, 1e-45, -1e-45, 3.4e38, 8388607.5]
    x, y = (grid.ravel() for grid in np.meshgrid(special, special))
    bits = generator.integers(0, 1 << 32, (2, 100_000), dtype=np.uint32).view(np.float32)
    bits[np.isnan(bits)] = np.nan  # quiet ones
    x = np.concatenate([x, bits[0], np.exp(generator.normal(size=100_000))]).astype(dtype)
    y = np.concatenate([y, bits[1], generator.normal(size=100_000) * 8]).astype(dtype)
    with np.errstate(all="ignore"):
        true = np.power(x.astype(np.float64), y.astype(np.float64))
        error = ulps(apply("power", x, y), true)
    worst = int(np.argmax(error))
    assert error[worst] <= (0.51 if dtype == "float32" else 2), (x[worst], y[worst], error[worst])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", ["maximum", "minimum", "floor_divide", "remainder"])
def test_binary_functions_agree_with_numpy(function: str, dtype: str) -> None:
    special = [0.0, -0.0, 1, -1, 2.5, -2.5, 0.1, -0.3, 7, 1e30, -1e30, 1e-40, math.inf, -math.inf, math.nan]
    generator = np.random.default_rng(5)
    x, y = (grid.ravel() for grid in np.meshgrid(special, special))
    x = np.concatenate([x, generator.normal(size=10_000) * 100]).astype(dtype)
    y = np.concatenate([y, generator.normal(size=10_000)]).astype(dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(apply(function, x, y), getattr(np, function)(x, y))


def test_fma_rounds_once() -> None:
    x = np.array([1 + 2.0**-12, 3.0], np.float32)
    z = np.array([-(1 + 2.0**-11), 1.0], np.float32)
    np.testing.assert_array_equal(apply("fma", x, x, z), np.array([2.0**-24, 10.0], np.float32))


@pytest.mark.parametrize("function", [name for name, entry in FLOAT_FUNCTIONS.items() if entry[0] == 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fast_math_changes_no_bit(function: str, dtype: str) -> None:
    x = (float32_inputs()[::37] if dtype == "float32" else float64_inputs()[::37]).copy()
    exact, fast = (apply(function, x, fast=fast) for fast in (False, True))
    np.testing.assert_array_equal(exact, fast)
    np.testing.assert_array_equal(np.signbit(exact[x == 0]), np.signbit(fast[x == 0]))


@pytest.mark.parametrize("function", FLOAT_FUNCTIONS)
def test_no_fast_math_flag_attaches(function: str) -> None:
    arity, emit = FLOAT_FUNCTIONS[function]
    module = ir.Module()
    scalar = ir.FloatType()
    owner = ir.Function(module, ir.FunctionType(scalar, [scalar] * arity), "owner")
    builder = ir.IRBuilder(owner.append_basic_block())
    result = emit(Emitter(builder, "float32"), *owner.args)
    builder.ret(builder.fadd(result, result, "control"))
    fastmathpass.rewrite_module(module, FastMathOptions(FAST_MATH))
    flagged = [line for line in str(module).splitlines() if "reassoc" in line]
    assert len(flagged) == 1
    assert "control" in flagged[0]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("function", [name for name in FLOAT_FUNCTIONS if name not in LIBM_CALLS])
def test_float32_loop_is_vectorised(function: str) -> None:
    arity = FLOAT_FUNCTIONS[function][0]
    arguments = ", ".join(f"{name}[i]" for name in "abc"[:arity])
    kernel = loop(f"{function}_float32({arguments})", "float32", arity, wrapper=False)
    (assembly,) = kernel.inspect_asm().values()
    packed = re.findall(r"\sv?(?!mov)\w+p[sd]\s[^\n]*%[xyz]mm", assembly)
    assert packed, assembly
    assert not re.search(r"\scall", assembly)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("combine", ["{} + exp_float32(a[i])", "maximum_float32({}, a[i])"])
def test_reductions_are_vectorised(combine: str) -> None:
    source = "def total(a_, count):\n    a = pointer_float32(a_)\n    s = float32(-1e30)\n"
    source += f"    for i in range(count):\n        s = {combine.format('s')}\n    return s\n"
    scope = scalar_namespace() | SCALARS
    exec(source, scope)
    options = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    kernel = njit("float32(int64,int64)", fastmath=FAST_MATH, **options)(scope["total"])
    (assembly,) = kernel.inspect_asm().values()
    instruction = "addps" if "+" in combine else "maxps"
    assert re.search(rf"v?{instruction}\s[^\n]*%[xyz]mm", assembly)


@pytest.mark.parametrize("function", ["exp", "tanh", "log", "sin", "power"])
def test_vectors_give_the_same_bits_as_scalars(function: str) -> None:
    arity, emit = FLOAT_FUNCTIONS[function]

    @intrinsic
    def on_vector(typing_context: Any, source: Any, target: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            vector = ir.VectorType(ir.FloatType(), 8).as_pointer()
            addresses = [builder.inttoptr(value, vector) for value in values]
            x = builder.load(addresses[0], align=4)
            result = emit(Emitter(builder, "float32", lanes=8), *[x] * arity)
            builder.store(result, addresses[1], align=4)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    @njit("void(int64,int64)")
    def run(source: int, target: int) -> None:
        on_vector(source, target)

    x = np.array([0.3, -1.7, 88.7, 0.0, -np.inf, np.nan, 1e-41, 3e20], np.float32)
    result = np.empty_like(x)
    run(x.ctypes.data, result.ctypes.data)
    np.testing.assert_array_equal(result, apply(function, *[x] * arity))


def test_a_wrong_dtype_is_refused() -> None:
    with pytest.raises(TypingError, match=r"argument 0 must be float32\. Received: float64"):
        loop("exp_float32(a[i] * 0.5)")


def test_the_mapping_offers_each_name_once() -> None:
    assert ("exp", "float32") in SCALAR_FUNCTIONS
    assert SCALAR_FUNCTIONS["exp", "float32"] is SCALAR_FUNCTIONS["exp", "float32"]
    with pytest.raises(KeyError):
        SCALAR_FUNCTIONS["exp", "int32"]
    assert len(list(SCALAR_FUNCTIONS)) == len(SCALAR_FUNCTIONS)
    assert set(scalar_namespace(["exp_float32", "nothing"])) == {"exp_float32"}
