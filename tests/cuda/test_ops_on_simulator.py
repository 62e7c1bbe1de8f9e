"""Every op on its own samples: printed as CUDA kernels, run in the simulator, judged against float64."""

from __future__ import annotations

import numpy as np
import pytest
from op_samples import in_float32

import compiler.ops  # noqa: F401  (fills the registry)
from compiler.codegen.cuda_driver import compile_graph_for_cuda
from compiler.interpret import interpret
from compiler.ir import Builder, Op
from compiler.ops.registry import OPS
from compiler.types import TensorType

pytestmark = pytest.mark.cudasim

CASES = [
    pytest.param(op, arrays, id=f"{name}-{number}")
    for name, cls in sorted(OPS.items())
    for number, (op, arrays) in enumerate(cls.samples())
]


def narrowed(array: np.ndarray) -> np.ndarray:
    return array.astype("float32") if array.dtype == "float64" else np.asarray(array)


def widened(array: np.ndarray) -> np.ndarray:
    return array.astype("float64") if array.dtype == "float32" else array


def graph_of(op: Op, arrays: tuple[np.ndarray, ...]):
    b = Builder("one_op")
    inputs = [b.input(f"x{i}", TensorType(a.shape, a.dtype.name)) for i, a in enumerate(arrays)]
    for i, value in enumerate(b.emit_all(op, *inputs)):
        b.output(f"y{i}", value)
    return b.build()


@pytest.mark.parametrize(("op", "arrays"), CASES)
def test_op_agrees_with_the_interpreter(op: Op, arrays: tuple[np.ndarray, ...]) -> None:
    arrays = tuple(narrowed(array) for array in arrays)
    graph = graph_of(in_float32(op), arrays)
    exact, _ = interpret(graph, [widened(array) for array in arrays])
    plain, _ = interpret(graph, arrays)
    results, _ = compile_graph_for_cuda(graph).run(arrays)
    for result, wide, single, (_, value) in zip(results, exact, plain, graph.outputs, strict=True):
        assert result.dtype.name == value.type.dtype
        assert result.shape == value.type.shape
        if result.dtype.kind != "f":
            np.testing.assert_array_equal(result, single)
            continue
        # As near to the exact value as NumPy in the same precision, give or take a few roundings.
        with np.errstate(invalid="ignore"):
            finite = np.abs(wide[np.isfinite(wide)])
            scale = np.maximum(np.abs(wide), finite.mean() if finite.size else 0.0)
            allowed = 2 * np.abs(single - wide) + 16 * np.finfo(result.dtype).eps * scale
            same = (np.isnan(wide) & np.isnan(result)) | (result == wide)
            assert (same | (np.abs(result - wide) <= allowed)).all(), (result, wide)
