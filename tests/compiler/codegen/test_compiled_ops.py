"""Every op, compiled and interpreted, on the op's own samples: a new op is tested by existing."""

from __future__ import annotations

import numpy as np
import pytest
from op_samples import in_float32

import compiler.ops  # noqa: F401  (fills the registry)
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Builder, Fusion, Op
from compiler.ops.registry import OPS
from compiler.types import TensorType

FLOATS = ("float32", "float64")


def cases() -> list[tuple[str, Op, tuple[np.ndarray, ...]]]:
    found = []
    for name, cls in OPS.items():
        for number, (op, arrays) in enumerate(cls.samples()):
            found.append((f"{name}-{number}", op, arrays))
    return found


CASES = cases()


@pytest.mark.parametrize(("op", "arrays"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_compiled_op_agrees_with_the_interpreter(op: Op, arrays: tuple[np.ndarray, ...]) -> None:
    op = in_float32(op)
    arrays = tuple(a.astype("float32") if a.dtype == "float64" else np.asarray(a) for a in arrays)
    if any(a.size == 0 for a in arrays):
        pytest.skip("an empty array has no work items; the frontend refuses it")
    b = Builder("one_op")
    inputs = [b.input(f"x{i}", TensorType(a.shape, a.dtype.name)) for i, a in enumerate(arrays)]
    for i, value in enumerate(b.emit_all(op, *inputs)):
        b.output(f"y{i}", value)
    graph = b.build()
    wide = [a.astype("float64") if a.dtype == "float32" else a for a in arrays]
    expected, _ = interpret(graph, wide)
    plain, _ = interpret(graph, arrays)
    results = compile_graph(graph).executable.run(list(arrays), [])
    for result, exact, single, (_, value) in zip(results, expected, plain, graph.outputs, strict=True):
        assert result.shape == tuple(value.type.shape)
        assert result.dtype.name == value.type.dtype
        if value.type.dtype not in FLOATS:
            np.testing.assert_array_equal(result, single)
            continue
        # No further from the exact value than twice a plain float32 evaluation, give or take a few roundings.
        with np.errstate(invalid="ignore"):
            scale = np.maximum(np.abs(exact), _typical(exact))
            noise = 2 * np.abs(single - exact) + 8 * np.finfo("float32").eps * scale
            same = (np.isnan(exact) & np.isnan(result)) | (result == exact)
            assert (same | (np.abs(result - exact) <= noise)).all(), (result, exact)


def _typical(exact: np.ndarray) -> float:
    finite = np.abs(exact[np.isfinite(exact)])
    return float(finite.mean()) if finite.size else 0.0


def test_samples_cover_every_kind_of_fusion() -> None:
    kinds = {op.fusion for _, op, _ in CASES}
    assert kinds >= {Fusion.ELEMENTWISE, Fusion.BROADCAST, Fusion.INDEXED, Fusion.REDUCTION, Fusion.CONTRACTION}
