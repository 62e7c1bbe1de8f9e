"""What a composite decomposes into computes what its `reference` says, down to primitives."""

from __future__ import annotations

import numpy as np
import pytest

import compiler.ops as ops
from compiler.ir import Builder, Fusion, Node, Op, Value
from compiler.ops.families import Composite
from compiler.ops.registry import OPS
from compiler.types import TensorType, is_float

assert ops.__all__

CASES = [
    pytest.param(op, arrays, id=f"{name}-{number}")
    for name, cls in sorted(OPS.items())
    if cls.fusion is Fusion.COMPOSITE
    for number, (op, arrays) in enumerate(cls.samples())
]


def computed(node: Node, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """A node's results by primitives alone."""
    if not isinstance(node.op, Composite):
        return node.op.reference(*arrays)
    b = Builder()
    inputs = [b.input(f"x{i}", value.type) for i, value in enumerate(node.inputs)]
    results = node.op.decompose(b, *inputs)
    values: dict[Value, np.ndarray] = dict(zip(inputs, arrays, strict=True))
    for inner in b.nodes:
        outputs = computed(inner, tuple(values[value] for value in inner.inputs))
        values.update(zip(inner.outputs, outputs, strict=True))
    return tuple(values[value] for value in results)


@pytest.mark.parametrize(("op", "arrays"), CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_decomposition_computes_the_reference(op: Op, arrays: tuple[np.ndarray, ...], dtype: str) -> None:
    arrays = tuple(a.astype(dtype) if a.dtype == "float64" else a for a in arrays)
    b = Builder()
    node = Node(op, tuple(b.input(f"x{i}", TensorType(a.shape, a.dtype.name)) for i, a in enumerate(arrays)))
    with np.errstate(all="ignore"):
        actual = computed(node, arrays)
    for result, expected, value in zip(actual, op.reference(*arrays), node.outputs, strict=True):
        assert TensorType(result.shape, result.dtype.name) == value.type
        if not is_float(value.type.dtype):
            np.testing.assert_array_equal(result, expected)
            continue
        precision = {"float64": 1e-11, "float32": 3e-5, "float16": 2e-3}[value.type.dtype]
        scale = np.max(np.abs(expected[np.isfinite(expected)]), initial=1.0)
        np.testing.assert_allclose(result, expected, rtol=precision, atol=precision * scale * 1e-2)


def test_composites_of_composites_are_among_them() -> None:
    b = Builder()
    OPS["batch_normalization"](axis=1).decompose(  # type: ignore[attr-defined]
        b, *(b.input(str(i), TensorType(shape)) for i, shape in enumerate([(4, 3), (3,), (3,)]))
    )
    assert "mean" in {node.op.name for node in b.nodes}
