"""What tests of the compiler share: graphs from text, arrays that fit them, and the interpreter as the judge.

Structure and numbers are judged apart. Structure: the text of the result, against a small golden file. Numbers:
`interpret` before and after a pass, or the compiled program against `interpret` in float64.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from compiler.driver import Compiled, compile_graph
from compiler.interpret import interpret
from compiler.ir import Graph, Input
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from compiler.text import parse, to_text
from compiler.types import concrete_shape, is_float
from compiler.verify import verify

Array = np.ndarray[Any, np.dtype[Any]]
Pass = Callable[[Graph, PassContext], Graph]
Arrays = Callable[..., list[Array]]

SIZES = {"n": 5, "batch": 6, "h": 7, "w": 4}  # what symbols stand for unless a test says otherwise


def random_array(rng: np.random.Generator, entry: Input, sizes: Mapping[str, int]) -> Array:
    shape, dtype = concrete_shape(entry.value.type.shape, dict(sizes)), entry.value.type.dtype
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if is_float(dtype):
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 4, shape).astype(dtype)


def widened(arrays: Sequence[Array]) -> list[Array]:
    return [array.astype("float64") if is_float(array.dtype.name) else array for array in arrays]


def assert_close(got: Array, exact: Array, single: Array, what: str) -> None:
    """No further from the exact value than a few times what plain evaluation in the same precision is."""
    assert got.shape == exact.shape, what
    if not is_float(got.dtype.name):
        np.testing.assert_array_equal(got, exact, err_msg=what)
        return
    finite = np.abs(exact[np.isfinite(exact)])
    typical = float(finite.mean()) if finite.size else 0.0
    with np.errstate(invalid="ignore"):
        noise = 4 * np.abs(single.astype("float64") - exact)
        noise += 32 * np.finfo(got.dtype).eps * np.maximum(np.abs(exact), typical)
        same = (np.isnan(exact) & np.isnan(got)) | (got == exact) | (np.abs(got - exact) <= noise)
    assert same.all(), f"{what}: got {got}, expected {exact}"


@pytest.fixture
def arrays_for() -> Arrays:
    """`arrays_for(graph, seed=0, **sizes)`: random arrays for its inputs, then for its variables."""

    def make(graph: Graph, seed: int = 0, **sizes: int) -> list[Array]:
        rng = np.random.default_rng(seed)
        return [random_array(rng, entry, SIZES | sizes) for entry in graph.parameters]

    return make


@pytest.fixture
def check(golden: Callable[[str, str], None], arrays_for: Arrays) -> Callable[..., Graph]:
    """`check(pass_, text, golden="name")`: run one pass on a graph and return the result.

    The result must be well formed, compute the same numbers, and be left alone by a second run. With `golden`
    its text must be that of tests/goldens/passes/<name>.txt.
    """

    def run(
        pass_: Pass, text: str, *, golden: str = "", context: PassContext | None = None, numbers: bool = True
    ) -> Graph:
        graph = parse(textwrap.dedent(text))
        before = to_text(graph)
        result = pass_(graph, context or PassContext())
        verify(result)
        assert to_text(graph) == before, "the pass changed the graph it was given"
        assert pass_(result, PassContext()) is result, "a second run must find nothing to do"
        if numbers:
            assert_same_numbers(graph, result, widened(arrays_for(graph)))
        if golden:
            compare(f"passes/{golden}", to_text(result))
        return result

    compare = golden
    return run


def assert_same_numbers(before: Graph, after: Graph, arrays: Sequence[Array]) -> None:
    """Interpret both graphs on the same arrays."""
    count = len(before.inputs)
    expected, expected_updates = interpret(before, arrays[:count], arrays[count:])
    outputs, updates = interpret(after, arrays[:count], arrays[count:])
    for (name, _), got, wanted in zip(before.outputs, outputs, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-9, err_msg=name)
    assert updates.keys() == expected_updates.keys()
    for name, wanted in expected_updates.items():
        np.testing.assert_allclose(updates[name], wanted, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.fixture
def check_compiled(arrays_for: Arrays) -> Callable[..., Compiled]:
    """`check_compiled(graph_or_text, **sizes)`: compile, run, and compare everything with the interpreter."""

    def run(graph: Graph | str, *, seed: int = 0, compiled: Compiled | None = None, **sizes: int) -> Compiled:
        graph = parse(textwrap.dedent(graph)) if isinstance(graph, str) else graph
        judge = differentiate(graph, PassContext())  # the interpreter knows no gradients
        arrays = arrays_for(graph, seed, **sizes)
        count = len(graph.inputs)
        exact, exact_updates = interpret(judge, widened(arrays)[:count], widened(arrays)[count:])
        single, single_updates = interpret(judge, arrays[:count], arrays[count:])
        compiled = compiled or compile_graph(graph)
        inputs, variables = arrays[:count], [array.copy() for array in arrays[count:]]
        outputs = compiled.executable.run([array.copy() for array in inputs], variables)
        for (name, _), got, wide, plain in zip(graph.outputs, outputs, exact, single, strict=True):
            assert_close(got, wide, plain, f"output {name}")
        for entry, got, old in zip(graph.variables, variables, arrays[count:], strict=True):
            wide, plain = exact_updates.get(entry.name, old), single_updates.get(entry.name, old)
            assert_close(got, wide, plain, f"variable {entry.name}")
        return compiled

    return run


@pytest.fixture
def operations() -> Callable[[Graph], list[str]]:
    """`operations(graph)`: names of its nodes in order."""
    return lambda graph: [node.op.name for node in graph.nodes]
