"""Every operation runs three ways; the tests compare all of them with one expectation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compiler.interpret import interpret
from graphcore import tree
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace


@pytest.fixture
def three_ways() -> Callable[..., None]:
    """`three_ways(function, arrays, expected)`: at once, traced with a symbolic first axis, and recorded.

    `function` takes as many tensors as there are arrays. The first axis of rank > 0 arrays with extent
    `batch` is symbolic in the traced run, so one graph must serve any batch size.
    """

    def check(
        function: Callable[..., Any],
        arrays: tuple[Any, ...],
        expected: Any,
        *,
        batch: int | None = None,
        tolerance: float = 1e-6,
    ) -> None:
        wanted = [np.asarray(leaf) for leaf in tree.flatten(expected)]
        _compare(tree.flatten(function(*arrays)), wanted, tolerance)
        shapes = [
            (None, *a.shape[1:]) if batch is not None and a.ndim and a.shape[0] == batch else a.shape for a in arrays
        ]
        trace = Trace("test")
        with trace:
            inputs = [trace.input(f"x{i}", s, a.dtype) for i, (s, a) in enumerate(zip(shapes, arrays, strict=True))]
            results = tree.flatten(function(*inputs))
        graph, _ = trace.finish({f"y{i}": tensor for i, tensor in enumerate(results)})
        outputs, _ = interpret(graph, list(arrays))
        _compare(list(outputs), wanted, tolerance)
        assert [tensor.dtype for tensor in results] == [array.dtype.name for array in wanted]
        symbolic = [KerasTensor(s, a.dtype) for s, a in zip(shapes, arrays, strict=True)]
        recorded = tree.flatten(function(*symbolic))
        assert [tensor.dtype for tensor in recorded] == [array.dtype.name for array in wanted]
        for tensor, array in zip(recorded, wanted, strict=True):
            assert tensor.ndim == array.ndim
            assert all(known in (None, extent) for known, extent in zip(tensor.shape, array.shape, strict=True))
            assert batch is not None or None not in tensor.shape

    return check


def _compare(results: list[Any], wanted: list[Any], tolerance: float) -> None:
    assert len(results) == len(wanted)
    for result, expected in zip(results, wanted, strict=True):
        assert np.shape(result) == expected.shape
        np.testing.assert_allclose(np.asarray(result), expected, rtol=tolerance, atol=tolerance)
