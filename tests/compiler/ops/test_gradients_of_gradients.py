"""The gradient of a gradient, by central differences of the first: every rule is itself made of right ops."""

from __future__ import annotations

import numpy as np
import pytest

import compiler.ops as ops
from compiler.ir import Builder, Fusion, Op, Value
from compiler.ops.families import reverse_accumulate
from compiler.ops.registry import OPS
from compiler.types import TensorType, is_float

assert ops.__all__

# Where a formula holds almost everywhere only: products through zeros, and choices that a step would change.
FIRST_ORDER_ONLY = {"reduce_prod-8"}
NO_SLOPE = ("sign", "floor", "ceil", "round", "floor_divide", "stop_gradient")
LARGEST = 60  # elements of all inputs together, to be quick


def type_of(array: np.ndarray) -> TensorType:
    return TensorType(array.shape, array.dtype.name)


def is_smooth(op: Op, arrays: tuple[np.ndarray, ...]) -> bool:
    types = op.infer(*map(type_of, arrays))
    small = sum(array.size for array in arrays) <= LARGEST
    floats = any(a.dtype == "float64" for a in arrays) and all(t.dtype == "float64" for t in types)
    return small and floats and all(np.isfinite(a).all() for a in arrays) and op.name != "cast"


CASES = [
    pytest.param(op, arrays, id=f"{name}-{number}")
    for name, cls in sorted(OPS.items())
    if name not in ("fused", "gradient") and cls.fusion is not Fusion.SOURCE
    for number, (op, arrays) in enumerate(cls.samples())
    if f"{name}-{number}" not in FIRST_ORDER_ONLY and is_smooth(op, arrays)
]


class Differentiated:
    """A graph of an op, its first gradients, and the gradients of sum(weights * first gradients)."""

    def __init__(self, op: Op, arrays: tuple[np.ndarray, ...]) -> None:
        rng = np.random.default_rng(3)
        self.b = b = Builder()
        self.inputs = [b.input(f"x{i}", type_of(array)) for i, array in enumerate(arrays)]
        outputs = b.emit_all(op, *self.inputs)
        self.feeds: dict[Value, np.ndarray] = {}
        seeds = [self._given(rng, f"g{i}", value.type) for i, value in enumerate(outputs)]
        self.wanted = [value for value in self.inputs if is_float(value.type.dtype)]
        self.first = reverse_accumulate(b, list(b.nodes), dict(zip(outputs, seeds, strict=True)), self.wanted)
        known = [value for value in self.first if value is not None]
        self.weights = {value: self._given(rng, f"w{i}", value.type) for i, value in enumerate(known)}
        self.second = reverse_accumulate(b, list(b.nodes), dict(self.weights), self.wanted)

    def _given(self, rng: np.random.Generator, name: str, type_: TensorType) -> Value:
        value = self.b.input(name, type_)
        self.feeds[value] = np.asarray(rng.normal(size=type_.shape))
        return value

    def values(self, arrays: list[np.ndarray]) -> dict[Value, np.ndarray]:
        values = self.feeds | dict(zip(self.inputs, arrays, strict=True))
        for node in self.b.nodes:
            results = node.op.reference(*(values[value] for value in node.inputs))
            values.update(zip(node.outputs, results, strict=True))
        return values

    def loss(self, arrays: list[np.ndarray]) -> float:
        values = self.values(arrays)
        return sum(float(np.sum(values[g] * values[w])) for g, w in self.weights.items())


@pytest.mark.parametrize(("op", "arrays"), CASES)
def test_second_order_gradient_is_the_slope_of_the_first(op: Op, arrays: tuple[np.ndarray, ...]) -> None:
    graph = Differentiated(op, arrays)
    if not graph.weights:
        assert op.name in NO_SLOPE or getattr(op, "rate", 0) == 1, "no gradient at all"
        return
    values = graph.values(list(arrays))
    tied = (0, 1) if op.name in ("max_pool_gradient", "max_pool_select") else ()
    for value, second in zip(graph.wanted, graph.second, strict=True):
        number = graph.inputs.index(value)
        if number in tied:
            continue
        actual = np.zeros(value.type.shape) if second is None else values[second]
        expected = np.zeros(arrays[number].size)
        for position in range(expected.size):
            losses = []
            for sign in (1, -1):
                moved = [array.copy() for array in arrays]
                moved[number].reshape(-1)[position] += sign * 1e-5
                losses.append(graph.loss(moved))
            expected[position] = (losses[0] - losses[1]) / 2e-5
        scale = np.max(np.abs(expected), initial=1.0)
        np.testing.assert_allclose(actual.ravel(), expected, rtol=1e-4, atol=2e-6 * scale, err_msg=f"input {number}")
