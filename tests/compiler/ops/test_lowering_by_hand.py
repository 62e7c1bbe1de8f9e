"""Every op's `lower`, computed scalar by scalar with Python numbers, against `reference`.

The lowering under test here never becomes code: each expression is evaluated as it is asked for, so a failure is
the op's own. Every read is checked to lie inside its array, which compiled code cannot do.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence

import numpy as np
import pytest

import compiler.ops as ops
from compiler.ir import Fusion, Op
from compiler.loops import Call, Expr, Literal, Lowering, literal, reduction_start
from compiler.ops.binding import bind
from compiler.ops.registry import OPS
from compiler.types import TensorType, is_float
from runtime.dimensions import Dim, evaluate, symbol

assert ops.__all__

MOST_PLACES = 40

FUNCTIONS: dict[str, Callable[..., object]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": np.divide,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "negative": np.negative,
    "absolute": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": lambda x: math.erf(x),
    "normal_density": lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "normal_distribution": lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    "sin": np.sin,
    "cos": np.cos,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_not": np.logical_not,
    "is_nan": lambda x: x != x,
    "select": lambda condition, chosen, otherwise: chosen if condition else otherwise,
    "cast": lambda x: x,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "multiply_high": lambda x, y: (int(x) * int(y)) >> 32,
}


def value_of(expression: Expr) -> np.generic:
    """The number that an expression without loads and locals is."""
    if isinstance(expression, Literal):
        return np.dtype(expression.dtype).type(expression.value)
    assert isinstance(expression, Call), expression
    arguments = [value_of(argument) for argument in expression.arguments]
    assert expression.function in FUNCTIONS, expression.function
    with np.errstate(all="ignore"):
        return np.asarray(FUNCTIONS[expression.function](*arguments)).astype(expression.dtype)[()]


class ByHand(Lowering):
    """Evaluates at once: every expression it hands out is a literal."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes

    def extent(self, dim: Dim) -> Expr:
        return literal(evaluate(dim, self.sizes), "int64")

    def let(self, value: Expr) -> Expr:
        return Literal(value.dtype, value_of(value))  # type: ignore[arg-type]

    def reduce(
        self, combine: str, dtype: str, extents: Sequence[Dim], body: Callable[[tuple[Expr, ...]], Expr]
    ) -> Expr:
        total = value_of(reduction_start(combine, dtype))
        for index in itertools.product(*(range(evaluate(extent, self.sizes)) for extent in extents)):
            part = body(tuple(literal(i, "int64") for i in index))
            assert part.dtype == dtype
            with np.errstate(all="ignore"):
                total = np.asarray(FUNCTIONS[combine](total, value_of(part))).astype(dtype)[()]
        return Literal(dtype, total)  # type: ignore[arg-type]


def reader(array: np.ndarray) -> Callable[[Sequence[Expr]], Expr]:
    def read(index: Sequence[Expr]) -> Expr:
        assert all(part.dtype == "int64" for part in index)
        place = tuple(int(value_of(part)) for part in index)
        inside = len(place) == array.ndim and all(0 <= i < n for i, n in zip(place, array.shape, strict=True))
        assert inside, f"read at {place} of an array of shape {array.shape}"
        return Literal(array.dtype.name, array[place])  # type: ignore[arg-type]

    return read


def places_to_check(shape: list[int]) -> list[tuple[int, ...]]:
    """Every index of a small result; of a larger one the corners and a fixed random choice."""
    every = list(np.ndindex(*shape))
    if len(every) <= MOST_PLACES:
        return every
    corners = list(itertools.product(*({0, extent - 1} for extent in shape)))
    chosen = np.random.default_rng(0).choice(len(every), MOST_PLACES, replace=False)
    return corners + [every[i] for i in chosen]


def assert_lowered(
    op: Op, arrays: tuple[np.ndarray, ...], sizes: dict[str, int], types: list[TensorType], expected: np.ndarray
) -> None:
    shape = [evaluate(extent, sizes) for extent in types[-1].shape]
    assert list(expected.shape) == shape
    places = places_to_check(shape)
    actual = np.zeros(len(places), types[-1].dtype)
    for number, index in enumerate(places):
        place = [literal(i, "int64") for i in index]
        scalar = op.lower(ByHand(sizes), [reader(array) for array in arrays], types, place)
        assert scalar.dtype == types[-1].dtype
        actual[number] = value_of(scalar)
    wanted = np.array([expected[index] for index in places], types[-1].dtype)
    if is_float(types[-1].dtype):
        np.testing.assert_allclose(actual, wanted, rtol=1e-12 if types[-1].dtype == "float64" else 1e-5, atol=1e-12)
    else:
        np.testing.assert_array_equal(actual, wanted)


def type_of(array: np.ndarray) -> TensorType:
    return TensorType(array.shape, array.dtype.name)


PRIMITIVES = [
    pytest.param(op, arrays, id=f"{name}-{number}")
    for name, cls in sorted(OPS.items())
    if name not in ("fused", "gradient", "constant") and cls.fusion not in (Fusion.COMPOSITE, Fusion.LOOP)
    for number, (op, arrays) in enumerate(cls.samples())
]


@pytest.mark.parametrize(("op", "arrays"), PRIMITIVES)
def test_lowering_agrees_with_reference_and_reads_inside(op: Op, arrays: tuple[np.ndarray, ...]) -> None:
    (result,) = op.infer(*map(type_of, arrays))
    (expected,) = op.reference(*arrays)
    assert_lowered(op, arrays, {}, [*map(type_of, arrays), result], expected)


N, H = symbol("n"), symbol("h")
SYMBOLIC = [
    (OPS["reshape"]((N * 6,)), [(N, 2, 3)]),
    (OPS["reshape"]((N, 3, 2)), [(N, 6)]),
    (OPS["reshape"]((N, 1, 2)), [(2 * N,)]),
    (OPS["broadcast"]((N, 3, H), (0, 2)), [(N, 1)]),
    (OPS["slice"]((N // 2, 0), (N, 3), (1, 2)), [(N, 3)]),
    (OPS["pad"]((H, 1), (0, N), 2.0), [(N, 2)]),
    (OPS["concatenate"](0), [(N, 2), (3, 2), (H, 2)]),
    (OPS["reverse"]((0, 1)), [(N, 3)]),
    (OPS["reduce_sum"](axes=(0,)), [(N, 3)]),
    (OPS["argmax"](axis=1), [(2, N)]),
    (OPS["matmul"](), [(N, 3), (3, 2)]),
    (OPS["convolution"]((2,), ((1, N // 2),), (1,), 1), [(2, N, 2), (3, 2, 2)]),
    (OPS["convolution_input_gradient"]((N,), (2,), ((1, 1),), (1,), 1), [(2, (N - 1) // 2 + 1, 2), (3, 2, 2)]),
    (OPS["max_pool"]((2,), (2,), ((0, 1),)), [(1, N, 2)]),
    (OPS["average_pool_gradient"]((N,), (3,), (2,), ((1, 1),)), [(1, (N - 1) // 2 + 1, 2)]),
    (OPS["iota"]((N, 2), 0, "float32"), []),
    (OPS["dimension"](2 * N + H), []),
]


@pytest.mark.parametrize(("op", "shapes"), SYMBOLIC, ids=[f"{op.name}-{i}" for i, (op, _) in enumerate(SYMBOLIC)])
@pytest.mark.parametrize("sizes", [{"n": 5, "h": 3}, {"n": 2, "h": 1}])
def test_symbolic_extents_lower_once_for_every_size(
    op: Op, shapes: list[tuple[Dim, ...]], sizes: dict[str, int]
) -> None:
    types = [TensorType(shape, "float64") for shape in shapes]
    (result,) = op.infer(*types)
    rng = np.random.default_rng(5)
    arrays = tuple(rng.normal(size=[evaluate(extent, sizes) for extent in shape]) for shape in shapes)
    (expected,) = bind(op, sizes).reference(*arrays)
    assert_lowered(op, arrays, sizes, [*types, result], expected)
