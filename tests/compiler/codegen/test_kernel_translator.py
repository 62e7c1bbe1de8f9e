"""The translator of printed kernels: against Numba's own compilation of the same text, Python, and NumPy."""

from __future__ import annotations

import ast
import ctypes
import platform
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from compiler import functions as F
from compiler.codegen import kernel_translator
from compiler.codegen.kernels import CpuKernel, cpu_kernel
from compiler.codegen.objects import (
    OPTIONS,
    SIGNATURE,
    CompiledKernel,
    KernelCompileError,
    compile_kernel,
    kernel_scope,
    kernel_texts,
)
from compiler.codegen.scalar_math import scalar_namespace
from compiler.functions.core import make
from compiler.ir import Builder, Value
from compiler.ops.fused import Fused
from compiler.passes.context import PassContext
from compiler.pipeline import run_pipeline
from compiler.target import host_target
from compiler.types import TensorType
from runtime.dimensions import evaluate
from runtime.loader import load

Array = np.ndarray[Any, Any]
NATIVE = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 3)
HEADER = "def kernel(pointers, extents, scratch, begin, end):\n"


def callable_at(address: int, owner: Any) -> Callable[..., None]:
    """The kernel at an address as a function of pointers, extents, scratch, begin and end."""
    function = NATIVE(address)
    returned = np.zeros(2, dtype="int64")

    def call(pointers: Array, extents: Array, scratch: int, begin: int, end: int) -> None:
        # The convention has places for what a function returns and for its exception; a kernel has neither.
        places = (returned.ctypes.data, returned.ctypes.data + 8, pointers.ctypes.data, extents.ctypes.data)
        assert owner is not None  # its memory holds the code
        assert function(*places, scratch, begin, end) == 0

    return call


def native(compiled: CompiledKernel) -> Callable[..., None]:
    """A compiled kernel, loaded as the runtime loads it."""
    code = load(compiled.symbol, compiled.object_code)
    return callable_at(code.address, code)


def plain(source: str, namespace: Any) -> Callable[..., None]:
    """The same text through Numba's front end."""
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    scope = kernel_scope(definition, namespace)
    exec(source, scope)
    dispatcher = njit(SIGNATURE, **OPTIONS)(scope["kernel"])
    (result,) = dispatcher.overloads.values()
    return callable_at(result.library.get_pointer_to_function(result.fndesc.llvm_func_name), dispatcher)


def addresses(arrays: list[Array]) -> Array:
    return np.array([array.ctypes.data for array in arrays] or [0], dtype="int64")


def run(function: Callable[..., None], arrays: list[Array], extents: list[int], scratch: int, work: int) -> None:
    memory = np.zeros(scratch + 64, dtype="uint8")
    start = (memory.ctypes.data + 63) // 64 * 64
    pointers, sizes = addresses(arrays), np.array(extents or [0], dtype="int64")
    half = work // 2
    for begin, end in ((0, half), (half, work)):
        function(pointers, sizes, start, begin, end)


def draw(type_: TensorType, rng: np.random.Generator) -> Array:
    shape = tuple(int(extent) for extent in type_.shape)  # type: ignore[arg-type]
    if type_.dtype.startswith("float"):
        return rng.normal(size=shape).astype(type_.dtype)
    return rng.integers(0, 2 if type_.dtype == "bool" else 100, size=shape).astype(type_.dtype)


# ------------------------------------------------------------------------- kernels as the compiler prints them


def softmax_rows(b: Builder) -> Value:
    return F.softmax(b, b.input("x", TensorType((33, 100), "float32")))


def column_sum(b: Builder) -> Value:
    return F.reduce_sum(b, b.input("x", TensorType((70, 96), "float32")), 0)


def row_sum(b: Builder) -> Value:
    return F.reduce_sum(b, b.input("x", TensorType((9, 1000), "float32")), 1)


def elementwise(b: Builder) -> Value:
    x = b.input("x", TensorType((4099,), "float32"))
    return F.multiply(b, F.tanh(b, x), F.add(b, x, 0.5))


def adam(b: Builder) -> tuple[Value, ...]:
    kind = TensorType((2500,), "float32")
    weight, gradient, mean, square = (b.input(name, kind) for name in ("weight", "gradient", "mean", "square"))
    mean = F.add(b, mean, F.multiply(b, F.subtract(b, gradient, mean), 0.1))
    square = F.add(b, square, F.multiply(b, F.subtract(b, F.square(b, gradient), square), 0.001))
    step = F.divide(b, F.multiply(b, mean, 0.01), F.add(b, F.sqrt(b, F.maximum(b, square, 0.0)), 1e-7))
    return F.subtract(b, weight, step), mean, square


def philox(b: Builder) -> Value:
    counter = b.input("counter", TensorType((2,), "uint32"))
    return b.emit(make("random_normal", shape=(1500,), dtype="float32"), counter)


def pooling_gradient(b: Builder) -> Value:
    image, pooled = TensorType((2, 8, 6, 5), "float32"), TensorType((2, 4, 3, 5), "float32")
    x, y, gradient = b.input("x", image), b.input("y", pooled), b.input("gradient", pooled)
    return b.emit(make("max_pool_gradient", size=(2, 2), strides=(2, 2), padding=((0, 0), (0, 0))), x, y, gradient)


def dense(b: Builder) -> Value:
    x, w = b.input("x", TensorType((37, 50), "float32")), b.input("w", TensorType((50, 29), "float32"))
    return F.relu(b, F.add(b, F.matmul(b, x, w), b.input("bias", TensorType((29,), "float32"))))


def printed(build: Callable[[Builder], Value | tuple[Value, ...]]) -> list[tuple[CpuKernel, list[TensorType]]]:
    """The kernels of a graph with the types of their operands."""
    b = Builder("test")
    results = build(b)
    for index, value in enumerate(results if isinstance(results, tuple) else (results,)):
        b.output(f"y{index}", value)
    graph = run_pipeline(b.build(), PassContext(host_target()))
    fused = [node for node in graph.nodes if isinstance(node.op, Fused)]
    kernels = [
        (cpu_kernel(node.op.body, host_target()), [value.type for value in (*node.inputs, *node.outputs)])
        for node in fused
        if isinstance(node.op, Fused)
    ]
    assert kernels
    return kernels


@pytest.mark.parametrize(
    "build", [softmax_rows, column_sum, row_sum, elementwise, adam, philox, pooling_gradient, dense]
)
def test_same_bits_as_numba_from_the_same_text(build: Callable[[Builder], Value]) -> None:
    rng = np.random.default_rng(3)
    for kernel, kinds in printed(build):
        arrays = [draw(kind, rng) for kind in kinds]
        expected = [array.copy() for array in arrays]
        sizes = [evaluate(extent, {}) for extent in kernel.extents]
        scratch, work = evaluate(kernel.scratch, {}), evaluate(kernel.work, {})
        run(native(compile_kernel(kernel.source, kernel.namespace)), arrays, sizes, scratch, work)
        run(plain(kernel.source, kernel.namespace), expected, sizes, scratch, work)
        before = np.random.default_rng(3)
        assert any(a.tobytes() != draw(kind, before).tobytes() for a, kind in zip(arrays, kinds, strict=True))
        for array, other in zip(arrays, expected, strict=True):
            assert array.tobytes() == other.tobytes()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="looks at x86 assembly")
@pytest.mark.parametrize(
    ("build", "instruction"),
    [(elementwise, "v?mulps|v?fn?madd...ps"), (row_sum, "v?addps"), (column_sum, "v?addps"), (softmax_rows, "v?subps"),
     (adam, "v?sqrtps|v?rsqrtps"), (philox, "v?pmuludq")],
)  # fmt: skip
def test_loops_become_vector_instructions(build: Callable[[Builder], Value], instruction: str) -> None:
    wide = {4: "xmm", 8: "ymm", 16: "zmm"}[host_target().lanes("float32")]
    texts = []
    for kernel, _ in printed(build):
        texts.append(kernel_texts(kernel.source, kernel.namespace).assembly)
    assert any(re.search(rf"\b({instruction})\s[^\n]*%?{wide}", text) for text in texts)


def test_a_loop_of_long_turns_takes_two_vectors_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    source = HEADER + """\
    p0 = private_float32(pointers[0])
    p1 = private_float32(pointers[1])
    for i0 in range(begin, end):
        v0 = p0[i0]
        p1[i0] = v0 * normal_density_float32(v0) + normal_distribution_float32(v0)
"""
    quotient = rf"fdiv <{host_target().lanes('float32')} x float>"
    widened = []
    for long_turn in (kernel_translator.LONG_TURN, 10**9):
        monkeypatch.setattr(kernel_translator, "LONG_TURN", long_turn)
        texts = kernel_texts(source, scalar_namespace(["normal_density_float32", "normal_distribution_float32"]))
        widened.append(len(re.findall(quotient, texts.llvm)))
    assert widened == [2, 1]


# --------------------------------------------------------------------------------- the language, against Python

PROGRAM = (
    HEADER
    + """\
    p0 = private_int64(pointers[0])
    n0 = extents[0]
    total = begin * 3 - end
    v0 = total // n0 + total % n0
    for i0 in range(n0 + 40):
        v1 = (i0 - 20) // 7
        v2 = (i0 - 20) % -5
        total = total + v1 * v2
        for i1 in range(-3, v1, 2):
            total = total - (i1 + v0) // -4
        last = v1
        last = last - total
        p0[i0 % 5] = last
    for i0 in range(3, 30, 4):
        total = maximum_int64(total, -i0) + i0
    while total > 100:
        total = total // 2 - 1
    p0[5] = total
    v3 = (begin < end) and (not (begin == 4) or (end >= 9))
    p0[6] = select_int64(v3, begin, end)
    p0[7] = select_int64(((begin != end) or False) and True, -v0, v0)
    p1 = private_uint8(pointers[1])
    p1[0] = v3
    p0[8] = select_int64(truth(p1[0]), 5, 6)
"""
)
NUMBER = st.integers(-(10**6), 10**6)


class Elements(list[Any]):
    """What stands for a pointer in Python."""


@pytest.fixture(scope="module")
def program() -> Callable[..., None]:
    return native(compile_kernel(PROGRAM, {}))


@settings(max_examples=60, deadline=None)
@given(begin=NUMBER, end=NUMBER, size=st.integers(1, 30))
def test_statements_and_integers_as_python_has_them(
    program: Callable[..., None], begin: int, end: int, size: int
) -> None:
    words, flags = np.zeros(9, dtype="int64"), np.zeros(1, dtype="uint8")
    pointers, sizes = addresses([words, flags]), np.array([size], dtype="int64")
    program(pointers, sizes, 0, begin, end)
    scope: dict[str, Any] = {
        "private_int64": lambda elements: elements,
        "private_uint8": lambda elements: elements,
        "select_int64": lambda condition, a, b: a if condition else b,
        "maximum_int64": max,
        "truth": bool,
    }
    exec(PROGRAM, scope)
    expected = [[0] * 9, [0]]
    scope["kernel"](expected, [size], 0, begin, end)
    assert words.tolist() == expected[0]
    assert flags.tolist() == [int(expected[1][0])]


def run_source(body: str, arrays: list[Array], begin: int = 0, end: int = 0) -> None:
    source = HEADER + "".join(f"    {line}\n" for line in body.strip().splitlines())
    pointers = addresses(arrays)
    native(compile_kernel(source, {}))(pointers, pointers, 0, begin, end)


def test_division_by_zero_gives_zero() -> None:
    words = np.array([7, -7, 3, 3], dtype="int64")
    run_source("p0 = private_int64(pointers[0])\np0[0] = p0[0] // begin\np0[1] = p0[1] % begin", [words])
    assert words.tolist() == [0, 0, 3, 3]


def test_comparisons_of_nan_and_signed_zero() -> None:
    values = np.array([np.nan, 1.0, -0.0, 0.0], dtype="float32")
    signs = ("<", "<=", ">", ">=", "==", "!=")
    results = np.full((4, 4, 6), 9, dtype="uint8")
    lines = ["p0 = private_float32(pointers[0])", "p1 = private_uint8(pointers[1])", "for i0 in range(4):"]
    lines += ["    for i1 in range(4):"]
    lines += [f"        p1[(i0 * 4 + i1) * 6 + {k}] = p0[i0] {sign} p0[i1]" for k, sign in enumerate(signs)]
    run_source("\n".join(lines), [values, results])
    a, b = values[:, None], values[None, :]
    expected = np.stack([a < b, a <= b, a > b, a >= b, a == b, a != b], axis=-1)
    np.testing.assert_array_equal(results, expected.astype("uint8"))


def test_unsigned_comparison_and_typed_literals() -> None:
    words, flags = np.array([2**32 - 1, 1], dtype="uint32"), np.zeros(2, dtype="uint8")
    floats, small = np.zeros(6, dtype="float32"), np.zeros(1, dtype="int8")
    run_source(
        """
p0 = private_uint32(pointers[0])
p1 = private_uint8(pointers[1])
p2 = private_float32(pointers[2])
p3 = private_int8(pointers[3])
p1[0] = p0[0] > p0[1]
p1[1] = p0[0] == uint32(4294967295)
p2[0] = float32(0.1)
p2[1] = float32(-inf)
p2[2] = float32(nan)
p2[3] = float32(7)
p2[4] = -float32(0.1)
p2[5] = float32(1e-45)
p3[0] = int8(-128)
""",
        [words, flags, floats, small],
    )
    assert flags.tolist() == [1, 1]
    expected = np.array([0.1, -np.inf, np.nan, 7.0, -0.1, 1e-45], dtype="float32")
    np.testing.assert_array_equal(floats, expected)
    assert small.tolist() == [-128]


def test_equal_expressions_are_emitted_once() -> None:
    line = "p0[{}] = (v0 // 7) * (v0 // 7) + index_remainder(v0, 9)"
    lines = "".join(f"    {line.format(index)}\n" for index in range(20))
    texts = kernel_texts(HEADER + "    p0 = private_int64(pointers[0])\n    v0 = begin + end\n" + lines, {})
    assert len(re.findall(r"\burem\b", texts.llvm)) <= 1


def test_a_value_of_one_block_is_not_used_in_the_next() -> None:
    words = np.zeros(4, dtype="int64")
    run_source(
        """
p0 = private_int64(pointers[0])
for i0 in range(begin):
    p0[0] = end * 17
for i0 in range(end):
    p0[1] = end * 17
p0[2] = end * 17
""",
        [words],
        begin=0,
        end=3,
    )
    assert words.tolist() == [0, 51, 51, 0]


# ------------------------------------------------------------------------------------------------- refusals

REFUSED = [
    ("x = 1.5", "line 2, `1.5`"),
    ("x = y", "'y' has no value here"),
    ("x = begin + float32(1.0)", "Add of int64 and float32"),
    ("x = 3\nx = float32(3.0)", "line 3, .*cannot become float32"),
    ("begin = 3", "'begin' is a parameter"),
    ("for i in range(3):\n    i = 4", "'i' is a parameter or the index"),
    ("for i in range(3):\n    x = i\ny = x", "line 4, .*'x' has no value here"),
    ("for i in range(3):\n    for i in range(2):\n        x = i", "name of something visible"),
    ("for i in range(3, 0, -1):\n    x = i", "positive literal"),
    ("for i in range(3):\n    x = i\nelse:\n    y = 2", "no such statement"),
    ("for i in pointers:\n    x = 1", "runs over range"),
    ("if begin < end:\n    x = 1", "line 2, `if begin < end:`: no such statement"),
    ("return begin", "no such statement"),
    ("x += 1", "no such statement"),
    ("x = y = 1", "no such statement"),
    ("x = begin / end", "Div of int64"),
    ("x = begin ** 2", "Pow of int64"),
    ("x = begin < end < 3", "no such expression"),
    ("x = begin and end", "expected bool, found int64"),
    ("x = not begin", "expected bool, found int64"),
    ("x = int8(1) + int8(2)", "Add of int8"),
    ("x = int8(128)", "from -128 to 127"),
    ("x = int8(1.5)", "from -128 to 127"),
    ("x = float32(begin)", "argument of a literal"),
    ("x = float32(True)", "argument of a literal"),
    ("x = 9223372036854775808", "does not fit"),
    ("x = print(3)", "'print' is no function"),
    ("x = exp_float32(1)", "exp_float32"),
    ("x = begin[0]", "no pointer"),
    ("x = pointers[float32(1.0)]", "expected int64, found float32"),
    ("extents[0] = float32(1.0)", "an element is int64; the value stored is float32"),
    ("x = begin == (begin < end)", "comparison of int64 with bool"),
    ("x = pointers == extents", "comparison"),
    ("x = [begin]", "no such expression"),
    ("x = begin if begin < end else end", "no such expression"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED, ids=[body for body, _ in REFUSED])
def test_refusals_name_the_line(body: str, message: str) -> None:
    source = HEADER + "".join(f"    {line}\n" for line in body.splitlines())
    with pytest.raises(KernelCompileError, match=message) as caught:
        compile_kernel(source, {})
    assert re.search(r"line \d+, `", str(caught.value))
    assert source in str(caught.value)


@pytest.mark.parametrize("source", ["x = 1\n", "def kernel(a):\n    x = a\n", "def kernel(:\n"])
def test_other_sources_are_refused(source: str) -> None:
    with pytest.raises(KernelCompileError):
        compile_kernel(source, {})
