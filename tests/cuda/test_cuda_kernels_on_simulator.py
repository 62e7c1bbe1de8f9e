"""Shapes, grids, special values and misuse: kernels in the simulator against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler.ops  # noqa: F401  (fills the registry)
from compiler import functions as f
from compiler.codegen.cuda import LaunchLimits
from compiler.codegen.cuda_compile import ptx_of
from compiler.codegen.cuda_driver import CudaExecutable, compile_graph_for_cuda
from compiler.ir import Builder
from compiler.text import parse
from compiler.types import TensorType
from runtime.dimensions import symbol

pytestmark = pytest.mark.cudasim

RNG = np.random.default_rng(11)
EXTENTS = st.integers(1, 9)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32")


def run(make, arrays: list[np.ndarray], limits: LaunchLimits | None = None) -> np.ndarray:
    b = Builder("example")
    inputs = [b.input(f"x{i}", TensorType(array.shape, array.dtype.name)) for i, array in enumerate(arrays)]
    b.output("y", make(b, *inputs))
    (result,), _ = compile_graph_for_cuda(b.build(), limits=limits).run(arrays)
    return result


def assert_near(actual: np.ndarray, exact: np.ndarray, terms: int) -> None:
    np.testing.assert_allclose(actual, exact, rtol=1e-5, atol=1e-6 * terms)


@settings(max_examples=25, deadline=None)
@given(EXTENTS, EXTENTS, EXTENTS, st.booleans(), st.booleans(), st.sampled_from([(), (2,), (1, 3)]), st.booleans())
def test_products_of_any_shape(rows, depth, columns, transpose_a, transpose_b, batch, one_for_all) -> None:
    a = normal(*batch, *((depth, rows) if transpose_a else (rows, depth)))
    c = normal(*(() if one_for_all else batch), *((columns, depth) if transpose_b else (depth, columns)))
    left = np.swapaxes(a, -1, -2) if transpose_a else a
    right = np.swapaxes(c, -1, -2) if transpose_b else c
    result = run(lambda b, x, y: f.matmul(b, x, y, transpose_a, transpose_b), [a, c])
    assert_near(result, left.astype("float64") @ right.astype("float64"), depth)


def test_tiles_of_the_size_that_a_gpu_gets() -> None:
    a, c, bias = normal(20, 35), normal(35, 17), normal(17)
    result = run(lambda b, x, y, z: f.relu(b, f.add(b, f.matmul(b, x, y), z)), [a, c, bias], LaunchLimits(blocks=2))
    exact = np.maximum(a.astype("float64") @ c.astype("float64") + bias, 0)
    assert_near(result, exact, 35)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(EXTENTS, EXTENTS, EXTENTS).map(lambda shape: (*shape[:2], shape[2] * 9)),
    st.sets(st.integers(0, 2)),
    st.sampled_from(["sum", "max", "min"]),
    st.sampled_from([1, 2, 8]),
)
def test_reductions_over_any_axes(shape, axes, name, threads) -> None:
    x = normal(*shape)
    kept = tuple(sorted(axes))
    result = run(
        lambda b, value: getattr(f, f"reduce_{name}")(b, value, kept), [x], LaunchLimits(threads=threads, blocks=3)
    )
    assert_near(result, getattr(x.astype("float64"), name)(kept), x.size)


@pytest.mark.parametrize("limits", [LaunchLimits(1, 1, 1), LaunchLimits(2, 3, 2), LaunchLimits(64, 1, 8)])
def test_any_grid_gives_the_result(limits: LaunchLimits) -> None:
    """A column reduction with a result an element, results a column, and one after the other."""
    x = normal(70, 3)
    b = Builder("centred")
    value = b.input("x", TensorType((symbol("batch"), 3)))
    mean = f.mean(b, value, (0,))
    b.output("mean", mean)
    b.output("centred", f.subtract(b, value, mean))
    b.output("squares", f.square(b, value))
    (actual, centred, squares), _ = compile_graph_for_cuda(b.build(), limits=limits).run([x])
    wide = x.astype("float64")
    assert_near(actual, wide.mean(0), 1)
    assert_near(centred, wide - wide.mean(0), 1)
    assert_near(squares, wide**2, 1)


IN_PLACE = """
graph in_place {{
  input %0 "x": f32[{shape}]
  variable %1 "s": f32[n]
  %2: f32[n] = reduce_sum(%0) {{axes=({reduced},)}}
  %3: f32[n] = multiply(%1, %2)
  %4: f32[{shape}] = broadcast(%3) {{shape=({shape}), axes=({kept},)}}
  %5: f32[{shape}] = subtract(%0, %4)
  return "y"=%5
  update "s"=%2
}}
"""


@pytest.mark.parametrize("length", [5, 70])  # a thread for each result, a block for each
@pytest.mark.parametrize("kept", [0, 1])
def test_all_operands_of_an_item_are_read_before_one_is_overwritten(length: int, kept: int) -> None:
    """The update takes the memory of the variable, which the other result reads, too."""
    shape = ("n", length) if kept == 0 else (length, "n")
    text = IN_PLACE.format(shape=", ".join(map(str, shape)), reduced=1 - kept, kept=kept)
    x, s = normal(*(7 if extent == "n" else length for extent in shape)), normal(7)
    (y,), updated = compile_graph_for_cuda(parse(text)).run([x], [s])
    assert_near(updated["s"], x.astype("float64").sum(1 - kept), length)
    assert_near(y, x - np.expand_dims(s * x.astype("float64").sum(1 - kept), 1 - kept), length)


def test_random_bits_are_those_of_the_interpreter() -> None:
    """Philox multiplies 32-bit words: products and sums must wrap around."""
    state = np.array([0xFFFFFFFF, 0xDEADBEEF], "uint32")
    b = Builder("bits")
    value = f.random_bits(b, b.input("state", TensorType((2,), "uint32")), (9,))
    b.output("bits", value)
    (bits,), _ = compile_graph_for_cuda(b.build()).run([state])
    (expected,) = value.producer.op.reference(state)
    np.testing.assert_array_equal(bits, expected)
    assert len(set(bits.tolist())) == 9


def test_nan_and_infinity_propagate_without_a_warning() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0], "float32")
    for make, expected in (
        (lambda b, v: f.relu(b, v), [np.nan, np.inf, 0, 0, 1]),
        (lambda b, v: f.maximum(b, 0.5, v), [np.nan, np.inf, 0.5, 0.5, 1]),
        (lambda b, v: f.minimum(b, v, 0.5), [np.nan, 0.5, -np.inf, 0, 0.5]),
        (lambda b, v: f.log(b, v), [np.nan, np.inf, np.nan, -np.inf, 0]),
        (lambda b, v: f.divide(b, v, 0.0), [np.nan, np.inf, -np.inf, np.nan, np.inf]),
        (lambda b, v: f.sigmoid(b, v), [np.nan, 1, 0, 0.5, 1 / (1 + np.exp(-1))]),
        (lambda b, v: f.reduce_max(b, v, (0,)), np.nan),
        (lambda b, v: f.reduce_sum(b, f.exp(b, f.multiply(b, v, 1e4)), (0,)), np.nan),
    ):
        np.testing.assert_allclose(run(make, [x]), np.array(expected, "float32"), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint32"])
def test_integers_wrap_around_as_in_numpy(dtype: str) -> None:
    limits = np.iinfo(dtype)
    x = np.array([limits.min, limits.max, limits.max - 1, 3], dtype)
    y = np.array([3, 2, limits.max, 0], dtype)
    with np.errstate(all="ignore"):
        for name in ("add", "subtract", "multiply", "floor_divide", "remainder", "maximum"):
            result = run(lambda b, p, q, name=name: getattr(f, name)(b, p, q), [x, y])
            np.testing.assert_array_equal(result, getattr(np, name)(x, y), name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_division_with_a_remainder_follows_numpy_for_every_sign(dtype: str) -> None:
    values = np.array([-7.5, -3.0, -0.5, -0.0, 0.0, 0.5, 3.0, 7.5, np.inf, -np.inf, np.nan], dtype)
    x, y = (part.reshape(-1).copy() for part in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        for name in ("remainder", "floor_divide"):
            result = run(lambda b, p, q, name=name: getattr(f, name)(b, p, q), [x, y])
            np.testing.assert_array_equal(result, getattr(np, name)(x, y), name)


def test_floats_become_integers_as_on_the_cpu() -> None:
    """Truncated, saturated, and 0 for NaN."""
    x = np.array([2.7, -2.7, 300.0, -300.0, 3e9, np.inf, -np.inf, np.nan], "float32")
    int8 = run(lambda b, v: f.cast(b, v, "int8"), [x])
    np.testing.assert_array_equal(int8, [2, -2, 127, -128, 127, 127, -128, 0])
    uint32 = run(lambda b, v: f.cast(b, v, "uint32"), [x])
    np.testing.assert_array_equal(uint32, [2, 0, 300, 0, 3000000000, 2**32 - 1, 0, 0])


# -------------------------------------------------------------------------------------- the executable


@pytest.fixture(scope="module")
def counter() -> CudaExecutable:
    """y = x + step, step = step + 1, and a constant."""
    b = Builder("counter")
    x = b.input("x", TensorType((symbol("batch"), 2)))
    step = b.variable("step", TensorType(()))
    b.output("y", f.add(b, f.add(b, x, step), f.constant(b, np.array([10, 20], "float32"))))
    b.update("step", f.add(b, step, 1.0))
    return compile_graph_for_cuda(b.build())


def test_variables_are_returned_and_nothing_given_is_changed(counter: CudaExecutable) -> None:
    x, step = normal(3, 2), np.array(5.0, "float32")
    copies = x.copy(), step.copy()
    (y,), updated = counter.run([x], [step])
    np.testing.assert_allclose(y, copies[0] + 5 + np.array([10, 20]), rtol=1e-6)
    assert updated["step"] == 6.0
    assert updated["step"].shape == ()
    np.testing.assert_array_equal(x, copies[0])
    assert step == copies[1]


def test_arrays_need_not_be_contiguous_and_may_be_empty(counter: CudaExecutable) -> None:
    step = np.array(1.0, "float32")
    x = normal(2, 3).T
    (y,), _ = counter.run([x], [step])
    np.testing.assert_allclose(y, x + 1 + np.array([10, 20]), rtol=1e-6)
    (nothing,), updated = counter.run([normal(0, 2)], [step])
    assert nothing.shape == (0, 2)
    assert updated["step"] == 2.0


@pytest.mark.parametrize(
    ("inputs", "variables", "error", "message"),
    [
        ([], [np.float32(0)], ValueError, r"takes 1 inputs \('x'\). Received: 0"),
        ([[1.0, 2.0]], [np.array(0, "float32")], TypeError, "input 'x' must be a NumPy array. Received: list"),
        ([np.zeros((1, 2))], [np.array(0, "float32")], TypeError, "must have dtype float32.*Received: float64"),
        ([np.zeros((1, 3), "float32")], [np.array(0, "float32")], ValueError, r"expected shape \(1, 2\)"),
    ],
)
def test_wrong_arrays_are_refused(counter: CudaExecutable, inputs, variables, error, message) -> None:
    with pytest.raises(error, match=message):
        counter.run(inputs, variables)


def test_the_simulator_says_that_it_cannot_compile(counter: CudaExecutable) -> None:
    with pytest.raises(RuntimeError, match="unset NUMBA_ENABLE_CUDASIM"):
        ptx_of(counter.kernels[0])
