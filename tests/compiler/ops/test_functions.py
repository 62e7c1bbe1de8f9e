"""The helpers that graphs are written with, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import functions as f
from compiler.functions.core import broadcast_shapes, promote
from compiler.ir import Builder, Value
from compiler.types import TensorType, parse_type
from runtime.dimensions import evaluate, symbol

N, H = symbol("batch"), symbol("h")
RNG = np.random.default_rng(17)

# The table of JAX's promotion lattice, which Keras 3 follows.
PROMOTIONS = [
    ("float32", "float32", "float32"),
    ("float16", "float32", "float32"),
    ("float64", "float32", "float64"),
    ("int64", "float32", "float32"),
    ("int32", "float16", "float16"),
    ("bool", "float16", "float16"),
    ("bool", "uint8", "uint8"),
    ("int8", "int32", "int32"),
    ("uint8", "int8", "int16"),
    ("uint32", "int32", "int64"),
    ("uint8", "uint32", "uint32"),
    ("uint64", "uint8", "uint64"),
    ("uint64", "int8", "float32"),
    ("uint64", "bool", "uint64"),
]


@pytest.mark.parametrize(("left", "right", "expected"), PROMOTIONS)
def test_promotion(left: str, right: str, expected: str) -> None:
    assert promote(left, right) == promote(right, left) == expected


@pytest.mark.parametrize(
    ("dtype", "number", "expected"),
    [
        ("float16", 2, "float16"),
        ("float16", 2.5, "float16"),
        ("int8", 2, "int8"),
        ("int64", 2.5, "float32"),
        ("bool", True, "bool"),
        ("bool", 2, "int32"),
        ("bool", 2.5, "float32"),
    ],
)
def test_python_numbers_are_weak(dtype: str, number: float, expected: str) -> None:
    b = Builder()
    x = b.input("x", TensorType((3,), dtype))
    assert f.maximum(b, x, number).type == TensorType((3,), expected) if expected != "bool" else True
    assert f.equal(b, number, x).producer.inputs[0].type.dtype == expected


def test_broadcast_shapes() -> None:
    assert broadcast_shapes((N, 1, 3), (4, 1), ()) == (N, 4, 3)
    assert broadcast_shapes((1,), (N, H)) == (N, H)
    assert broadcast_shapes((H + 1,), (1 + H,)) == (H + 1,)
    with pytest.raises(ValueError, match="batch and h differ"):
        broadcast_shapes((N,), (H,))


shapes = st.lists(st.integers(1, 3), max_size=3)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), result=shapes)
def test_broadcasting_as_numpy(data: st.DataObject, result: list[int]) -> None:
    def part() -> list[int]:
        kept = result[data.draw(st.integers(0, len(result))) :]
        return [data.draw(st.sampled_from([1, extent])) for extent in kept]

    x, y = RNG.normal(size=part()), RNG.normal(size=part())
    np.testing.assert_array_equal(run_graph(f.subtract, x, y), np.subtract(x, y))


def run_graph(function, *arrays, **attributes):  # type: ignore[no-untyped-def]
    """For hypothesis, which does not take function-scoped fixtures; see the fixture `run`."""
    b = Builder()
    inputs = [b.input(f"x{i}", TensorType(a.shape, a.dtype.name)) for i, a in enumerate(arrays)]
    result = function(b, *inputs, **attributes)
    values: dict[Value, np.ndarray] = dict(zip(inputs, arrays, strict=True))
    for node in b.nodes:
        outputs = node.op.reference(*(values[value] for value in node.inputs))
        values.update(zip(node.outputs, outputs, strict=True))
    return values[result]


bounds = st.one_of(st.none(), st.integers(-9, 9))


@settings(max_examples=200, deadline=None)
@given(start=bounds, stop=bounds, step=st.sampled_from([1, 2, 3, 7, -1, -2, -3]), extent=st.integers(1, 7))
def test_slice_axis_is_pythons_slice(start: int | None, stop: int | None, step: int, extent: int) -> None:
    x = np.arange(extent * 2).reshape(2, extent)
    expected = x[:, slice(start, stop, step)]
    np.testing.assert_array_equal(run_graph(f.slice_axis, x, axis=1, start=start, stop=stop, step=step), expected)
    b = Builder()
    symbolic = f.slice_axis(b, b.input("x", TensorType((2, N))), 1, start, stop, step)
    assert evaluate(symbolic.type.shape[1], {"batch": extent}) == expected.shape[1]


def test_elementwise_with_mixed_operands(run) -> None:
    x, i = RNG.normal(size=(2, 3)).astype("float32"), np.array([[1], [2]], "int32")
    np.testing.assert_allclose(run(f.multiply, x, i), x * i.astype("float32"), rtol=1e-6)
    np.testing.assert_array_equal(run(lambda b, a: f.divide(b, a, 4), i), np.array([[0.25], [0.5]], "float32"))
    np.testing.assert_array_equal(run(lambda b, a: f.divide(b, 4, a), i), np.array([[4], [2]], "float32"))
    np.testing.assert_allclose(run(f.sqrt, i), np.sqrt(i.astype("float32")), rtol=1e-6)
    np.testing.assert_array_equal(run(lambda b, a: f.where(b, f.greater(b, a, 0), a, 0), x), np.maximum(x, 0))
    assert run(lambda b, a: f.where(b, a, 1, 0), x).dtype == "int32"
    np.testing.assert_array_equal(run(lambda b, a: f.clip(b, a, -0.5, 0.5), x), np.clip(x, -0.5, 0.5))
    np.testing.assert_array_equal(run(f.logical_and, x, i), np.logical_and(x, i))
    np.testing.assert_array_equal(run(f.logical_xor, x, i), np.logical_xor(x, i))


def test_sources(run) -> None:
    np.testing.assert_array_equal(run(lambda b: f.arange(b, 2, 9, 3)), np.arange(2, 9, 3, "int32"))
    np.testing.assert_array_equal(run(lambda b: f.arange(b, 5, 0, -2)), np.arange(5, 0, -2, "int32"))
    np.testing.assert_allclose(run(lambda b: f.arange(b, 0.5, 2.0, 0.5)), np.arange(0.5, 2, 0.5, "float32"))
    b = Builder()
    assert f.constant(b, np.full((2, 2), 3.0)).op.name == "full"  # type: ignore[union-attr]
    assert f.constant(b, np.arange(4)).op.name == "constant"  # type: ignore[union-attr]
    assert f.dimension(b, 3).op.name == "full"  # type: ignore[union-attr]
    assert f.dimension(b, N).op.name == "dimension"  # type: ignore[union-attr]


def test_shapes_against_numpy(run) -> None:
    x = RNG.normal(size=(2, 3, 4))
    for actual, expected in [
        (run(f.reshape, x, (4, -1)), x.reshape(4, -1)),
        (run(f.transpose, x), x.T),
        (run(f.transpose, x, (-1, 0, 1)), x.transpose(2, 0, 1)),
        (run(f.move_axis, x, 0, -1), np.moveaxis(x, 0, -1)),
        (run(f.expand_dims, x, (0, -1)), np.expand_dims(x, (0, -1))),
        (run(f.squeeze, x[:, :1, :1]), x[:, 0, 0]),
        (run(f.squeeze, x[:, :1, :1], -1), x[:, :1, 0]),
        (run(f.reverse, x, -1), x[..., ::-1]),
        (run(f.reverse, x), x[::-1, ::-1, ::-1]),
        (run(f.repeat, x, 3, 1), np.repeat(x, 3, 1)),
        (run(f.repeat, x, 2), np.repeat(x, 2)),
        (run(f.tile, x, (2, 1, 3)), np.tile(x, (2, 1, 3))),
        (run(f.tile, x, (2,)), np.tile(x, 2)),
        (run(f.tile, x, (2, 1, 1, 1)), np.tile(x, (2, 1, 1, 1))),
        (run(f.broadcast_to, x[0], (5, 3, 4)), np.broadcast_to(x[0], (5, 3, 4))),
        (run(lambda b, a: f.stack(b, [a, a], -1), x), np.stack([x, x], -1)),
        (run(lambda b, a: f.concatenate(b, [a, a], -2), x), np.concatenate([x, x], -2)),
        (run(lambda b, a: f.dilate(b, a, (1, 3, 2)), x)[:, ::3, ::2], x),
        (run(f.pad, x, (1, 0, 0), (0, 2, 0), 7.0), np.pad(x, ((1, 0), (0, 2), (0, 0)), constant_values=7.0)),
    ]:
        np.testing.assert_array_equal(actual, expected)
    assert run(lambda b, a: f.dilate(b, a, (1, 3, 2)), x).shape == (2, 7, 7)
    for axis, sections in ((2, 2), (1, 3), (2, [1, 3])):
        for actual, expected in zip(run(f.split, x, sections, axis), np.split(x, sections, axis), strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_reshape_of_symbolic_shapes() -> None:
    b = Builder()
    x = b.input("x", TensorType((N, 28, 28)))
    assert f.reshape(b, x, (N, -1)).type.shape == (N, 784)
    assert f.reshape(b, x, (-1, 28)).type.shape == (28 * N, 28)
    assert f.reshape(b, x, (-1, N, 4)).type.shape == (196, N, 4)
    y = b.input("y", TensorType((N, H, 6)))
    assert f.reshape(b, y, (-1, 3)).type.shape == (2 * N * H, 3)
    assert f.reshape(b, y, (N, -1)).type.shape == (N, 6 * H)
    assert f.reshape(b, y, (-1, H, 6)).type.shape == (N, H, 6)
    assert f.reshape(b, x, x.type.shape) is x


def test_reductions_against_numpy(run) -> None:
    x = RNG.normal(size=(2, 3, 4))
    for name, expected in [
        ("reduce_sum", np.sum), ("reduce_max", np.max), ("reduce_min", np.min), ("reduce_prod", np.prod),
        ("mean", np.mean), ("variance", np.var),
    ]:  # fmt: skip
        for axes in (None, -1, (0, 2), ()):
            axis = axes if axes is None or isinstance(axes, int) else tuple(axes)
            for keepdims in (False, True):
                actual = run(getattr(f, name), x, axes=axes, keepdims=keepdims)
                np.testing.assert_allclose(actual, expected(x, axis=axis, keepdims=keepdims), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(run(f.any_, x > 1, axes=0), np.any(x > 1, 0))
    np.testing.assert_array_equal(run(f.all_, x > -1, axes=(1, 2)), np.all(x > -1, (1, 2)))
    np.testing.assert_array_equal(run(f.reduce_sum, x > 0), np.sum(x > 0, dtype="int32"))
    np.testing.assert_array_equal(run(f.argmax, x), np.argmax(x))
    np.testing.assert_array_equal(run(f.argmin, x, axis=-2, keepdims=True), np.argmin(x, -2, keepdims=True))
    assert run(f.mean, np.array([1, 2], "int32")) == np.float32(1.5)


def test_mean_over_a_symbolic_batch() -> None:
    b = Builder()
    x = b.input("x", TensorType((N, 3)))
    result = f.mean(b, x, 0)
    (total,) = result.producer.op.decompose(b, x)  # type: ignore[attr-defined]
    dimensions = [node.op for node in b.nodes if node.op.name == "dimension"]
    assert total.type == result.type == TensorType((3,))
    assert [op.extent for op in dimensions] == [N]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("left", "right"),
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)),
     ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (6, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,))],
)  # fmt: skip
def test_matmul_as_numpy(run, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, y = RNG.normal(size=left), RNG.normal(size=right)
    np.testing.assert_allclose(run(f.matmul, x, y), x @ y, rtol=1e-12)


def test_tensordot_as_numpy(run) -> None:
    x, y = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(4, 3, 5))
    np.testing.assert_allclose(run(f.tensordot, x, y, 1), np.tensordot(x, y, 1), rtol=1e-12)
    axes = ((-1, 1), (0, 1))
    np.testing.assert_allclose(run(f.tensordot, x, y, axes), np.tensordot(x, y, axes), rtol=1e-12)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ab,bc->ac", [(2, 3), (3, 4)]),
        ("ab,bc", [(2, 3), (3, 4)]),
        ("aecd,abcd->acbe", [(2, 3, 4, 5), (2, 6, 4, 5)]),
        ("acbe,aecd->abcd", [(2, 4, 6, 3), (2, 3, 4, 5)]),
        ("abc,cde->abde", [(2, 3, 4), (4, 5, 6)]),
        ("...x,xy->...y", [(2, 3, 4), (4, 5)]),
        ("...ab,...bc->...ac", [(6, 2, 3), (3, 4)]),
        ("ab,ab->ab", [(2, 3), (2, 3)]),
        ("a,b->ba", [(2,), (3,)]),
        ("ab,cd->", [(2, 3), (4, 5)]),
        ("abz,bc->ac", [(2, 3, 7), (3, 4)]),
        ("ab->ba", [(2, 3)]),
        ("abc->b", [(2, 3, 4)]),
        ("...a->...", [(2, 3, 4)]),
    ],
)
def test_einsum_as_numpy(run, equation: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [RNG.normal(size=shape) for shape in shapes]
    actual = run(lambda b, *values: f.einsum(b, equation, *values), *arrays)
    np.testing.assert_allclose(actual, np.einsum(equation, *arrays), rtol=1e-12, atol=1e-14)


def test_einsum_refuses_what_does_not_fit() -> None:
    b = Builder()
    x, y = b.input("x", parse_type("f32[2,3]")), b.input("y", parse_type("f32[4,5]"))
    for equation, message in [
        ("ab,bc->ac", "extents named 'b'"),
        ("abc,bc->a", "name each axis"),
        ("ab,cd->ae", r"\['e'\] of the result"),
        ("aa,cd->a", "each once in a term"),
        ("ab->a", "as many as terms"),
    ]:
        with pytest.raises(ValueError, match=message):
            f.einsum(b, equation, x, y)
