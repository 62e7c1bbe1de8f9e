"""Running graphs node by node with each op's `reference`, without the interpreter that is tested elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compiler.ops as ops
from compiler.ir import Builder, Value
from compiler.types import TensorType

assert ops.__all__

Run = Callable[..., Any]


def type_of(array: np.ndarray) -> TensorType:
    return TensorType(array.shape, array.dtype.name)


def evaluate_nodes(builder: Builder, feeds: dict[Value, np.ndarray]) -> dict[Value, np.ndarray]:
    values = dict(feeds)
    for node in builder.nodes:
        results = node.op.reference(*(values[value] for value in node.inputs))
        for value, result in zip(node.outputs, results, strict=True):
            assert type_of(result) == value.type, f"{node.op} gave {type_of(result)}, typed {value.type}"
            values[value] = result
    return values


@pytest.fixture
def run() -> Run:
    """`run(function, *arrays, **attributes)`: what a graph made by `function(b, *values, **attributes)` gives."""

    def call(function: Callable[..., Any], *arrays: Any, **attributes: Any) -> Any:
        b = Builder()
        arguments = [
            b.input(f"x{i}", type_of(array)) if isinstance(array, np.ndarray) else array
            for i, array in enumerate(arrays)
        ]
        tensors = [(v, a) for v, a in zip(arguments, arrays, strict=True) if isinstance(a, np.ndarray)]
        result = function(b, *arguments, **attributes)
        values = evaluate_nodes(b, dict(tensors))
        return values[result] if isinstance(result, Value) else [values[value] for value in result]

    return call


@pytest.fixture
def gradients() -> Run:
    """`gradients(op, arrays, cotangents)`: the op's gradient rule on arrays; None stays None."""

    def call(op: Any, arrays: tuple[np.ndarray, ...], cotangents: list[np.ndarray | None]) -> list[np.ndarray | None]:
        b = Builder()
        inputs = [b.input(f"x{i}", type_of(array)) for i, array in enumerate(arrays)]
        outputs = b.emit_all(op, *inputs)
        seeds = [None if g is None else b.input(f"g{i}", type_of(g)) for i, g in enumerate(cotangents)]
        feeds = dict(zip(inputs, arrays, strict=True))
        feeds |= {seed: g for seed, g in zip(seeds, cotangents, strict=True) if seed is not None}
        results = op.gradient(b, seeds, inputs, outputs)
        values = evaluate_nodes(b, feeds)
        return [None if result is None else values[result] for result in results]

    return call
