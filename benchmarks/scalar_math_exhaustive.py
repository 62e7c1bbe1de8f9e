"""Error of the float32 scalar functions over every float32 input, and their speed beside libm.

    python benchmarks/scalar_math_exhaustive.py                     all 2**32 inputs, the costly functions
    python benchmarks/scalar_math_exhaustive.py sin cos --stride 16 fewer of the tiny and the huge ones
    python benchmarks/scalar_math_exhaustive.py --all --stride 64   every function, quickly
    python benchmarks/scalar_math_exhaustive.py --speed             only the speed table

The reference is libm's float64 function. An error is counted in units in the last place of the float32 binade
that holds the true result (subnormal binade: 2**-149); infinity counts as 2**128. A NaN on one side only, a
wrong infinity and a wrong sign of zero are mismatches.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import njit

from compiler.codegen.scalar_math import FLOAT_FUNCTIONS, scalar_namespace

FAST_MATH = {"nsz", "contract", "reassoc", "arcp"}
CHUNK = 1 << 16
DEFAULT = ("exp", "log", "tanh", "sigmoid", "erf")

LOOP = """
def loop(source, target, count):
    x = pointer_float32(source)
    y = pointer_float32(target)
    for i in range(count):
        y[i] = {expression}
"""


def compile_loop(expression: str) -> Callable[[int, int, int], None]:
    """A loop over float32 with the flags of generated kernels; `x[i]` is the input."""
    namespace = scalar_namespace() | {"math": math, "np": np}
    exec(LOOP.format(expression=expression), namespace)
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": FAST_MATH, "nogil": True}
    return njit("void(int64,int64,int64)", **options)(namespace["loop"])


def reference(body: Callable[[float], float]) -> Any:
    """`body` compiled to strict float64 arithmetic over libm."""
    return njit("float64(float64)", error_model="numpy")(body)


def _log(x: float) -> float:
    return -math.inf if x == 0 else math.nan if x < 0 else math.log(x)


def _log1p(x: float) -> float:
    return -math.inf if x == -1 else math.nan if x < -1 else math.log1p(x)


def _sigmoid(x: float) -> float:
    decay = math.exp(-abs(x))
    return (decay if x < 0 else 1.0) / (1.0 + decay)


def _sine(x: float) -> float:
    return math.nan if math.isinf(x) else math.sin(x)


def _cosine(x: float) -> float:
    return math.nan if math.isinf(x) else math.cos(x)


REFERENCES: dict[str, Callable[[float], float]] = {
    "exp": lambda x: math.exp(x),
    "expm1": lambda x: math.expm1(x),
    "log": _log,
    "log1p": _log1p,
    "tanh": lambda x: math.tanh(x),
    "sigmoid": _sigmoid,
    "erf": lambda x: math.erf(x),
    "normal_density": lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "normal_distribution": lambda x: math.erfc(-x * math.sqrt(0.5)) / 2,
    "sin": _sine,
    "cos": _cosine,
    "sqrt": lambda x: np.sqrt(x),
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "floor": lambda x: np.floor(x),
    "ceil": lambda x: np.ceil(x),
    "trunc": lambda x: np.trunc(x),
    "round": lambda x: np.rint(x),
    "sign": lambda x: 0.0 if x == 0 else np.sign(x),
    "absolute": lambda x: abs(x),
    "negative": lambda x: -x,
}


def stated_bound(name: str) -> float:
    """The error in ulp that a function's docstring states: a number, `correctly rounded` or `exact`."""
    text = FLOAT_FUNCTIONS[name][1].__doc__ or ""
    if found := re.search(r"[Bb]elow ([0-9.]+[0-9]) ulp", text):
        return float(found[1])
    if "correctly rounded;" in text:
        return 0.5
    if "exact" in text:
        return 0.0
    raise ValueError(f"the docstring of {name} states no error")

COMPARE = """
def compare(inputs, results, worst):
    mismatches = 0
    for i in range(inputs.size):
        x = np.float64(inputs[i])
        y = np.float64(results[i])
        true = function(x)
        if math.isnan(true) or math.isnan(y):
            wrong = math.isnan(true) != math.isnan(y)
        else:
            wrong = true == 0.0 and y == 0.0 and math.copysign(1.0, true) != math.copysign(1.0, y)
            capped = math.copysign(min(abs(true), 2.0**128), true)
            got = math.copysign(min(abs(y), 2.0**128), y)
            binade = np.int64(np.float64(capped).view(np.int64) & 0x7FF0000000000000).view(np.float64)
            step = min(max(binade, 2.0**-126), 2.0**127) * 2.0**-23
            error = abs(got - capped) / step
            if error > worst[0]:
                worst[0] = error
                worst[1] = x
        if wrong:
            mismatches += 1
            worst[2] = x
    return mismatches
"""


def chunks(stride: int) -> Iterator[np.ndarray]:
    """Bit patterns: all with 2**-14 <= |x| < 128, one in `stride` of the others."""
    middle, top, end = (int(np.float32(value).view(np.uint32)) for value in (2.0**-14, 128.0, -0.0))
    for sign in (0, end):
        for low, high, step in ((0, middle, stride), (middle, top, 1), (top, end, stride)):
            for start in range(low, high, CHUNK * step):
                stop = min(start + CHUNK * step, high)
                yield np.arange(sign + start, sign + stop, step, dtype=np.uint64).astype(np.uint32)


def check(name: str, stride: int) -> tuple[float, float, int]:
    """Worst error in ulp, the argument where it occurs, and the number of mismatches."""
    loop = compile_loop(f"{name}_float32(x[i])")
    namespace: dict[str, Any] = {"math": math, "np": np, "function": reference(REFERENCES[name])}
    exec(COMPARE, namespace)
    compare = njit(namespace["compare"], error_model="numpy", nogil=True)
    worst, mismatches = np.zeros(3), 0
    results = np.empty(CHUNK, np.float32)
    for bits in chunks(stride):
        loop(bits.ctypes.data, results.ctypes.data, bits.size)
        mismatches += compare(bits.view(np.float32), results[: bits.size], worst)
    if mismatches:
        print(f"  {name}: {mismatches} mismatches, the last at {float(worst[2])!r}")
    return float(worst[0]), float(worst[1]), mismatches


SPEED = {
    "exp": "math.exp(x[i])",
    "expm1": "math.expm1(x[i])",
    "log": "math.log(x[i])",
    "log1p": "math.log1p(x[i])",
    "tanh": "math.tanh(x[i])",
    "sigmoid": "np.float32(1) / (np.float32(1) + math.exp(-x[i]))",
    "erf": "math.erf(x[i])",
    "normal_density": None,
    "normal_distribution": "math.erfc(x[i])",
    "sin": "math.sin(x[i])",
    "cos": "math.cos(x[i])",
    "sqrt": None,
    "rsqrt": None,
    "power": "math.pow(x[i], np.float32(1.7))",
}


def rate(loop: Callable[[int, int, int], None], count: int = 2048, repeats: int = 200) -> float:
    """Elements a second from L1 in units of 1e9: the best of 15 timings of `repeats` passes."""
    x = np.linspace(0.05, 4.0, count, dtype=np.float32)
    y = np.empty_like(x)

    @njit("void(int64,int64,int64,int64)", nogil=True)
    def drive(source, target, count, repeats):  # type: ignore[no-untyped-def]
        for _ in range(repeats):
            loop(source, target, count)

    best = math.inf
    for _ in range(15):
        start = time.perf_counter()
        drive(x.ctypes.data, y.ctypes.data, count, repeats)
        best = min(best, time.perf_counter() - start)
    return count * repeats / best / 1e9


def print_speed() -> None:
    """Table of Gelements/s on one core."""
    print(f"{'function':<10}{'here':>10}{'libm':>10}   Gelements/s, float32, one core, from L1")
    for name, libm in SPEED.items():
        call = "power_float32(x[i], np.float32(1.7))" if name == "power" else f"{name}_float32(x[i])"
        beside = f"{rate(compile_loop(libm)):10.3f}" if libm else f"{'':>10}"
        print(f"{name:<10}{rate(compile_loop(call)):10.3f}{beside}", flush=True)


def main() -> int:
    """Run the checks that the command line asks for; 1 if one has a mismatch or a larger error than it states."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help=f"of {', '.join(REFERENCES)}")
    parser.add_argument("--all", action="store_true", help="every function")
    parser.add_argument(
        "--stride", type=int, default=1, help="outside 2**-14 <= |x| < 128 check one input in so many (default: all)"
    )
    parser.add_argument("--speed", action="store_true", help="print the speed table instead")
    arguments = parser.parse_args()
    if arguments.speed:
        print_speed()
        return 0
    names = tuple(REFERENCES) if arguments.all else tuple(arguments.functions) or DEFAULT
    if unknown := set(names) - set(REFERENCES):
        parser.error(f"unknown functions {sorted(unknown)}; expected some of {', '.join(REFERENCES)}")
    failed = False
    for name in names:
        start = time.perf_counter()
        error, argument, mismatches = check(name, arguments.stride)
        bound = stated_bound(name)
        failed |= mismatches > 0 or error > bound
        seconds = time.perf_counter() - start
        verdict = f"stated {bound} ulp" + (": EXCEEDED" if error > bound else "")
        worst = f"worst {error:.4f} ulp at {argument!r}"
        print(f"{name:<8} {worst}, {verdict}, {mismatches} mismatches, {seconds:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
