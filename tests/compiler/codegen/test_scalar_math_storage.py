"""Typed pointers, casts between all dtypes, and integer arithmetic in its own width."""

from __future__ import annotations

import functools
import math
import platform
import re
from typing import Any

import numpy as np
import pytest
from numba import njit, types

from compiler.codegen.scalar_math import scalar_namespace
from compiler.codegen.scalar_math_integer import INTEGER_FUNCTIONS
from compiler.codegen.scalar_math_storage import DTYPES, INTEGERS

FAST_MATH = {"nsz", "contract", "reassoc", "arcp"}


@functools.cache
def loop(outputs: tuple[tuple[str, str], ...], sources: tuple[str, ...], wrapper: bool = True) -> Any:
    """Compiled loop that stores each (expression, dtype) of a[i], b[i], c[i] in an array of its own."""
    names = "abc"[: len(sources)]
    targets = [f"y{number}" for number in range(len(outputs))]
    lines = [f"def loop({', '.join(f'{name}_' for name in (*names, *targets))}, count):"]
    lines += [f"    {name} = pointer_{dtype}({name}_)" for name, dtype in zip(names, sources, strict=True)]
    lines += [f"    {name} = pointer_{dtype}({name}_)" for name, (_, dtype) in zip(targets, outputs, strict=True)]
    lines += ["    for i in range(count):"]
    lines += [f"        {name}[i] = {text}" for name, (text, _) in zip(targets, outputs, strict=True)]
    code = compile("\n".join(lines), "<loop>", "exec")
    scope = scalar_namespace(code.co_consts[0].co_names)
    exec(code, scope)
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": FAST_MATH}
    if not wrapper:
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    arguments = len(sources) + len(outputs) + 1
    return njit(types.void(*[types.int64] * arguments), **options)(scope["loop"])


def apply_all(outputs: tuple[tuple[str, str], ...], *inputs: np.ndarray) -> list[np.ndarray]:
    """The array of each output's expression."""
    results = [np.empty(inputs[0].shape, dtype) for _, dtype in outputs]
    kernel = loop(outputs, tuple(array.dtype.name for array in inputs))
    kernel(*(array.ctypes.data for array in (*inputs, *results)), inputs[0].size)
    return results


def apply(expression: str, target: str, *inputs: np.ndarray) -> np.ndarray:
    return apply_all(((expression, target),), *inputs)[0]


def limits(dtype: str) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def samples(dtype: str) -> np.ndarray:
    """Values of a dtype, its extremes among them."""
    if dtype == "bool":
        return np.array([False, True, True, False])
    if dtype in INTEGERS:
        low, high = limits(dtype)
        values = [0, 1, 2, 3, 7, 100, high, high - 1, high // 2, low, low + 1]
        values += [-1, -2, -3, -7, -100] if low < 0 else []
        return np.array(values, dtype)
    values = [0.0, -0.0, 1.0, -1.0, 0.4, -0.6, 2.5, 100.7, 127.0, -128.0, 6e-8, 1e-3, 65504.0, -3000.0]
    return np.array([*values, math.inf, -math.inf, math.nan], dtype)


@pytest.mark.parametrize("source", DTYPES)
def test_cast(source: str) -> None:
    values = samples(source)
    results = apply_all(tuple((f"cast_{source}_{target}(a[i])", target) for target in DTYPES), values)
    for target, result in zip(DTYPES, results, strict=True):
        with np.errstate(all="ignore"):
            expected = values.astype(target)
        if target in INTEGERS and source.startswith("float"):
            low, high = limits(target)
            plain = values.astype(np.float64).tolist()
            exact = [0 if math.isnan(v) else low if v <= low else high if v >= high else int(v) for v in plain]
            expected = np.array(exact, target)
        np.testing.assert_array_equal(result, expected, err_msg=target)
        if target.startswith("float"):
            np.testing.assert_array_equal(np.signbit(result), np.signbit(expected), err_msg=target)


def test_float16_is_rounded_once() -> None:
    generator = np.random.default_rng(11)
    wide = generator.uniform(-70000, 70000, 20_000) * 2.0 ** generator.integers(-40, 1, 20_000)
    # Just beside the middle between two float16: rounding to float32 first would move them onto it.
    middle = 1 + 2.0**-11 + np.array([2.0**-30, -(2.0**-30), 2.0**-50, -(2.0**-50), 0.0])
    subnormal = 2.0**-25 * (1 + np.array([2.0**-40, -(2.0**-40), 0.0]))
    wide = np.concatenate([wide, middle, -middle, middle + 2.0**-10, subnormal, [65519.999999999, 65520.0, 1e-300]])
    with np.errstate(over="ignore"):
        expected = wide.astype(np.float16)
    np.testing.assert_array_equal(apply("cast_float64_float16(a[i])", "float16", wide), expected)
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(apply("cast_float16_float32(a[i])", "float32", every), every.astype(np.float32))


def test_bool_in_memory_is_one_byte_of_0_or_1() -> None:
    a, b = np.array([0.5, -1.0, math.nan], np.float32), np.array([True, True, False])
    compared = apply("a[i] > a[0] - a[0]", "bool", a)
    np.testing.assert_array_equal(compared.view(np.uint8), [1, 0, 0])
    np.testing.assert_array_equal(apply("not truth(a[i])", "bool", b), ~b)
    odd = np.array([2, 255, 0], np.uint8).view(np.bool_)  # what foreign code may leave: any nonzero byte is true
    np.testing.assert_array_equal(apply("cast_bool_int32(truth(a[i]))", "int32", odd), [1, 1, 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_select(dtype: str) -> None:
    x = samples(dtype)
    y, condition = x[::-1].copy(), np.arange(x.size) % 3 == 0
    operands = "truth(b[i]), truth(c[i])" if dtype == "bool" else "b[i], c[i]"
    result = apply(f"select_{dtype}(truth(a[i]), {operands})", dtype, condition, x, y)
    np.testing.assert_array_equal(result, np.where(condition, x, y))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_functions_agree_with_numpy(dtype: str) -> None:
    x, y = (np.ascontiguousarray(grid.ravel()) for grid in np.meshgrid(samples(dtype), samples(dtype)))
    count = (np.arange(x.size) % (x.dtype.itemsize * 8)).astype(dtype)
    calls = {
        name: f"{name}_{dtype}({'a[i]' if arity == 1 else 'a[i], c[i]' if 'shift' in name else 'a[i], b[i]'})"
        for name, (arity, _) in INTEGER_FUNCTIONS.items()
        if name != "power"
    }
    results = apply_all(tuple((call, dtype) for call in calls.values()), x, y, count)
    renamed = {"shift_left": "left_shift", "shift_right": "right_shift"}
    for name, result in zip(calls, results, strict=True):
        operands = (x,) if INTEGER_FUNCTIONS[name][0] == 1 else (x, count if "shift" in name else y)
        with np.errstate(all="ignore"):
            expected = getattr(np, renamed.get(name, name))(*operands)
        np.testing.assert_array_equal(result, expected, err_msg=name)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_power_wraps_around(dtype: str) -> None:
    low, high = limits(dtype)
    bases = [value for value in (0, 1, 2, 3, 5, -1, -2, -3, high, low) if low <= value <= high]
    exponents = [value for value in (0, 1, 2, 3, 7, 31, 64, 100, -1, -2, -3) if low <= value <= high]
    pairs = [(base, exponent) for base in bases for exponent in exponents]

    def true(base: int, exponent: int) -> int:
        if exponent < 0:
            return base ** (exponent % 2) if base in (1, -1) else 0
        return int((pow(base, exponent, high - low + 1) - low) % (high - low + 1) + low)

    x, y = (np.array(column, dtype) for column in zip(*pairs, strict=True))
    expected = np.array([true(*pair) for pair in pairs], dtype)
    np.testing.assert_array_equal(apply(f"power_{dtype}(a[i], b[i])", dtype, x, y), expected)


def test_halves_of_the_product_of_two_words() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.integers(0, 1 << 32, (2, 1000), dtype=np.uint32)
    a[:3], b[:3] = 0xFFFFFFFF, (0xFFFFFFFF, 1, 0)
    product = a.astype(np.uint64) * b
    high, low = (apply(f"mul{half}_uint32(a[i], b[i])", "uint32", a, b) for half in ("hi", "lo"))
    np.testing.assert_array_equal(high, (product >> 32).astype(np.uint32))
    np.testing.assert_array_equal(low, product.astype(np.uint32))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize(
    ("expression", "sources", "target", "instruction"),
    [
        ("add_int32(a[i], b[i])", ("int32", "int32"), "int32", "paddd"),
        ("maximum_int32(a[i], b[i])", ("int32", "int32"), "int32", "pmaxsd"),
        ("mulhi_uint32(a[i], b[i])", ("uint32", "uint32"), "uint32", "pmuludq"),
        ("cast_float32_int32(a[i])", ("float32",), "int32", "cvttps2dq"),
        ("cast_int32_float32(a[i])", ("int32",), "float32", "cvtdq2ps"),
        ("a[i] > b[i]", ("float32", "float32"), "bool", "cmp[a-z_]*ps"),
        ("select_float32(truth(a[i]), b[i], c[i])", ("bool", "float32", "float32"), "float32", "blend|mov"),
    ],
)
def test_loops_are_vectorised(expression: str, sources: tuple[str, ...], target: str, instruction: str) -> None:
    (assembly,) = loop(((expression, target),), sources, wrapper=False).inspect_asm().values()
    assert re.search(rf"\sv?({instruction})\w*\s[^\n]*%[xyz]mm", assembly), assembly
    assert not re.search(r"\scall", assembly)
