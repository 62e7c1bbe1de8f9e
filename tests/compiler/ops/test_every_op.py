"""Every op, on every sample it declares: type rule, precision, gradient.

Values are judged by oracles that do not come from this project in the files beside this one; that the compiled
code agrees with `reference` is tested from the same samples by the tests of the code generator.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import compiler.ops as ops
from compiler.ir import Builder, Graph, Op, Value
from compiler.ops.binding import bind
from compiler.ops.registry import OPS
from compiler.types import TensorType, is_float
from runtime.dimensions import symbol

assert ops.__all__

# Inputs that a piecewise constant choice depends on: moving them alone leaves the op's domain of definition,
# since another input must move along (the pooled maximum with the values it was taken from).
TIED_INPUTS = {"max_pool_gradient": (0, 1), "max_pool_select": (0, 1), "stop_gradient": (0,)}

# Made by passes after differentiation, for one target, and tested with these passes.
LATE = (
    "attention_gradient_kernel",
    "attention_kernel",
    "convolution_kernel_gradient_parts",
    "packed_convolution",
    "packed_matmul",
    "separable_convolution",
    "put_rows",
    "segment_sum",
    "sorted_rows",
    "touched_rows",
    "winograd_convolution",
    "winograd_kernel_gradient",
)

CASES = [
    pytest.param(op, arrays, id=f"{name}-{number}")
    for name, cls in sorted(OPS.items())
    if name not in ("fused", "fused_steps", "gradient")
    for number, (op, arrays) in enumerate(cls.samples())
]


def type_of(array: np.ndarray) -> TensorType:
    return TensorType(array.shape, array.dtype.name)


def evaluate(builder: Builder, feeds: dict[Value, np.ndarray], wanted: list[Value | None]) -> list[np.ndarray | None]:
    """Run a graph node by node with `reference`; independent of the interpreter under test elsewhere."""
    values = dict(feeds)
    for node in builder.nodes:
        results = node.op.reference(*(values[value] for value in node.inputs))
        for value, result in zip(node.outputs, results, strict=True):
            assert type_of(result) == value.type, f"{node.op} gave {type_of(result)}, typed {value.type}"
            values[value] = result
    return [None if value is None else values[value] for value in wanted]


def narrowed(arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(a.astype("float32") if a.dtype == "float64" else a for a in arrays)


def without_wide_floats(op: Op) -> bool:
    """Whether the op's own attributes do not ask for float64."""
    return all(getattr(op, field.name) != "float64" for field in dataclasses.fields(op))


def test_every_op_has_samples() -> None:
    for name, cls in OPS.items():
        if name not in ("fused", "fused_steps", "gradient", *LATE):
            assert list(cls.samples()), name


@pytest.mark.parametrize(("op", "arrays"), CASES)
def test_reference_has_the_inferred_types(op: Op, arrays: tuple[np.ndarray, ...]) -> None:
    has_body = any(isinstance(value, Graph) for value in op.fields.values())
    for inputs in (arrays,) if has_body else (arrays, narrowed(arrays)):  # a body says its types
        before = [array.copy() for array in inputs]
        results = op.reference(*inputs)
        assert [type_of(result) for result in results] == list(op.infer(*map(type_of, inputs)))
        for array, copy in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(("op", "arrays"), CASES)
def test_reference_in_float32_agrees_with_float64(op: Op, arrays: tuple[np.ndarray, ...]) -> None:
    # What is compared in float64 starts from the rounded inputs, so that steps fall on the same side.
    rounded = narrowed(arrays)
    widened = tuple(a.astype(o.dtype) for a, o in zip(rounded, arrays, strict=True))
    for narrow, wide in zip(op.reference(*rounded), op.reference(*widened), strict=True):
        if is_float(wide.dtype.name):
            scale = np.max(np.abs(wide[np.isfinite(wide)]), initial=1.0)
            np.testing.assert_allclose(narrow, wide, rtol=2e-5, atol=2e-6 * scale)
        else:
            np.testing.assert_array_equal(narrow, wide)


def gradients_of(op: Op, arrays: tuple[np.ndarray, ...], weights: list[np.ndarray]) -> list[np.ndarray | None]:
    """Cotangents of all inputs for the loss sum(weights * results)."""
    b = Builder()
    inputs = [b.input(f"x{i}", type_of(array)) for i, array in enumerate(arrays)]
    outputs = b.emit_all(op, *inputs)
    seeds = [b.input(f"g{i}", type_of(weight)) for i, weight in enumerate(weights)]
    feeds = dict(zip([*inputs, *seeds], [*arrays, *weights], strict=True))
    cotangents = [seed if is_float(value.type.dtype) else None for seed, value in zip(seeds, outputs, strict=True)]
    gradients = list(op.gradient(b, cotangents, inputs, outputs))
    assert len(gradients) == len(arrays)
    for gradient, value in zip(gradients, inputs, strict=True):
        assert gradient is None or gradient.type == value.type
    return evaluate(b, feeds, gradients)


def slope(op: Op, arrays: tuple[np.ndarray, ...], weights: list[np.ndarray], number: int) -> np.ndarray:
    """Central differences of the loss by every element of one input."""
    step = 1e-6
    slopes = np.zeros(arrays[number].size)
    for position in range(arrays[number].size):
        losses = []
        for sign in (1, -1):
            moved = [array.copy() for array in arrays]
            moved[number].reshape(-1)[position] += sign * step
            results = op.reference(*moved)
            losses.append(list(results))
        slopes[position] = sum(
            float(np.sum(weight * np.subtract(plus, minus, where=plus != minus, out=np.zeros_like(plus))))
            for weight, plus, minus in zip(weights, *losses, strict=True)
            if is_float(plus.dtype.name)
        ) / (2 * step)
    return slopes.reshape(arrays[number].shape)


DIFFERENTIABLE = [
    case
    for case in CASES
    if any(a.dtype == "float64" for a in case.values[1])
    and all(np.isfinite(a).all() for a in case.values[1])
    and any(is_float(t.dtype) for t in case.values[0].infer(*map(type_of, case.values[1])))
]


@pytest.mark.parametrize(("op", "arrays"), DIFFERENTIABLE)
def test_gradient_is_the_slope(op: Op, arrays: tuple[np.ndarray, ...]) -> None:
    rng = np.random.default_rng(99)
    types = op.infer(*map(type_of, arrays))
    weights = [rng.normal(size=t.shape).astype(t.dtype if is_float(t.dtype) else "float64") for t in types]
    gradients = gradients_of(op, arrays, weights)
    for number, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        if array.dtype != "float64":
            assert gradient is None, f"input {number} is of {array.dtype} and got a gradient"
        elif number in TIED_INPUTS.get(op.name, ()):
            assert gradient is None
        else:
            expected = slope(op, arrays, weights, number)
            actual = np.zeros_like(array) if gradient is None else gradient
            scale = np.max(np.abs(expected), initial=1.0)
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6 * scale, err_msg=f"input {number}")


def test_bind_replaces_symbols_at_any_depth() -> None:
    batch, height = symbol("batch"), symbol("h")
    broadcast = OPS["broadcast"](shape=(batch, 3), axes=(1,))
    bound = bind(broadcast, {"batch": 4})
    assert bound.shape == (4, 3)
    assert bound.infer(TensorType((3,)))[0] == TensorType((4, 3))
    assert broadcast.shape == (batch, 3), "the op itself stays"
    assert bind(broadcast, {"h": 2}) is broadcast
    convolution = OPS["convolution"]((2, 2), ((0, height // 2), (1, height)), (1, 1), 1)
    assert bind(convolution, {"h": 6}).padding == ((0, 3), (1, 6))
