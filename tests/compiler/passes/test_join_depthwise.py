"""Which depthwise convolutions are joined to the 1x1 convolution behind them, and that this changes no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compiler import functions as f
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Builder, Graph, Value
from compiler.ops.convolution import Convolution
from compiler.ops.spatial import Padding
from compiler.passes.context import PassContext
from compiler.passes.decompose import decompose
from compiler.passes.join_depthwise import join_depthwise
from compiler.target import CUDA_TARGET
from compiler.text import parse, to_text
from compiler.types import TensorType
from runtime.dimensions import symbol
from runtime.threads import set_num_threads

pytestmark = pytest.mark.usefixtures("threads_restored")

SAME = ((1, 1), (1, 1))
NONE = ((0, 0), (0, 0))
Between = Callable[[Builder, Value], Value]


def vector(b: Builder, name: str, like: Value) -> Value:
    shape = like.type.shape
    variable = b.variable(name, TensorType((shape[-1],), like.type.dtype))
    return f.broadcast_in(b, variable, shape, (3,))


def normalised(b: Builder, x: Value, name: str) -> Value:
    vectors = [b.variable(f"{name}/{i}", TensorType((x.type.shape[-1],), x.type.dtype)) for i in range(4)]
    mean, variance, gamma, beta = vectors[0], f.multiply(b, vectors[1], vectors[1]), *vectors[2:]
    return f.normalize_with(b, x, mean, variance, gamma, beta, axis=3)


def nothing(b: Builder, x: Value) -> Value:
    return x


def usual(b: Builder, x: Value) -> Value:
    return f.relu(b, normalised(b, x, f"norm{len(b.nodes)}"))


def with_bias_and_bounds(b: Builder, x: Value) -> Value:
    biased = f.add(b, x, vector(b, f"bias{len(b.nodes)}", x))
    return f.clip(b, normalised(b, biased, f"norm{len(b.nodes)}"), 0.0, 6.0)


def below_a_bound(b: Builder, x: Value) -> Value:
    return f.minimum(b, f.subtract(b, x, vector(b, f"shift{len(b.nodes)}", x)), 1.5)


def graph_of(
    between: Between = usual,
    behind: Between = usual,
    *,
    channels: int = 20,
    filters: int = 24,
    strides: tuple[int, int] = (1, 1),
    padding: Padding = SAME,
    multiplier: int = 1,
    size: tuple[int, int] = (1, 1),
    pointwise: Convolution | None = None,
    layers: int = 1,
    dtype: str = "float32",
    updated: bool = False,
    also: bool = False,
) -> Graph:
    b = Builder("step")
    x = b.input("x", TensorType((symbol("batch"), 9, 7, channels), dtype))
    for layer in range(layers):
        first = b.variable(f"depthwise{layer}", TensorType((3, 3, 1, channels * multiplier), dtype))
        second = b.variable(f"pointwise{layer}", TensorType((*size, channels * multiplier, filters), dtype))
        x = middle = between(b, b.emit(Convolution(strides, padding, (1, 1), channels), x, first))
        x = behind(b, b.emit(pointwise or Convolution((1, 1), NONE, (1, 1)), x, second))
        channels = filters
    b.output("y", x)
    if also:
        b.output("middle", middle)
    if updated:
        b.update("depthwise0", f.negative(b, first))
    return decompose(b.build(), PassContext())


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


CASES = {
    "normalised": graph_of(),
    "alone": graph_of(nothing, nothing),
    "bias and bounds": graph_of(with_bias_and_bounds, with_bias_and_bounds, filters=32),
    "upper bound": graph_of(below_a_bound, nothing, strides=(2, 2), padding=((0, 1), (1, 1))),
    "something else behind": graph_of(behind=lambda b, x: f.tanh(b, usual(b, x))),
    "two layers": graph_of(layers=2, filters=16),
    "double": graph_of(dtype="float64"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_joined_form_computes_the_same(name: str, arrays_for: Callable[..., Any]) -> None:
    graph = CASES[name]
    joined = join_depthwise(graph, PassContext())
    layers = names(graph).count("convolution") // 2
    assert names(joined).count("separable_convolution") == layers
    assert "convolution" not in names(joined)
    assert "relu" not in names(joined)
    assert join_depthwise(joined, PassContext()) is joined
    assert to_text(parse(to_text(joined))) == to_text(joined)
    for batch in (1, 3):
        arrays = arrays_for(graph, 1, batch=batch)
        wide = [array.astype("float64") for array in arrays]
        (exact,), _ = interpret(graph, wide[:1], wide[1:])
        (single,), _ = interpret(graph, arrays[:1], arrays[1:])
        if arrays[0].dtype == "float64":
            (again,), _ = interpret(joined, wide[:1], wide[1:])
            np.testing.assert_allclose(again, exact, rtol=1e-12, atol=1e-12)
        compiled = compile_graph(graph)
        assert "separable_convolution" in to_text(compiled.graph)
        assert compiled.program.prepared >= layers
        results = []
        for threads in (1, 2, 3):
            set_num_threads(threads)
            (result,) = compiled.executable.run(arrays[:1], arrays[1:])
            results.append(np.array(result))
        unit = np.finfo(arrays[0].dtype).eps
        plain = np.abs(single.astype("float64") - exact).max()
        assert np.abs(results[0] - exact).max() <= 2 * plain + 8 * unit * np.abs(exact).max()
        for other in results[1:]:
            np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize(
    "graph",
    [
        graph_of(updated=True),
        graph_of(also=True),
        graph_of(multiplier=2),
        graph_of(size=(3, 3)),
        graph_of(pointwise=Convolution((2, 2), NONE, (1, 1))),
        graph_of(pointwise=Convolution((1, 1), SAME, (1, 1))),
        graph_of(lambda b, x: f.tanh(b, x)),
        graph_of(lambda b, x: f.add(b, f.relu(b, x), vector(b, "late", x))),
        graph_of(lambda b, x: f.maximum(b, f.minimum(b, x, 2.0), 1.0)),
        graph_of(channels=1),
    ],
    ids=[
        "new weights", "read twice", "several filters", "3x3", "strided", "padded", "other function",
        "vector behind a bound", "bounds in the other order", "one channel",
    ],
)  # fmt: skip
def test_what_stays_apart(graph: Graph) -> None:
    assert join_depthwise(graph, PassContext()) is graph


def test_other_targets_keep_them_apart() -> None:
    graph = graph_of()
    assert join_depthwise(graph, PassContext(target=CUDA_TARGET)) is graph


def test_steps_behind_a_read_value_stay() -> None:
    graph = graph_of(behind=lambda b, x: f.add(b, f.relu(b, x), f.tanh(b, x)))
    joined = names(join_depthwise(graph, PassContext()))
    assert joined.count("separable_convolution") == 1
    assert joined.count("relu") == 1


def test_operands_that_do_not_fit_are_refused() -> None:
    joined = join_depthwise(graph_of(), PassContext())
    node = next(node for node in joined.nodes if node.op.name == "separable_convolution")
    x, panels, kernel, between, behind = (value.type for value in node.inputs)
    with pytest.raises(ValueError, match="panels must hold 24 filters"):
        node.op.infer(x, panels.with_shape(9, *panels.shape[1:]), kernel, between, behind)
    with pytest.raises(ValueError, match=r"rows of panels .* and steps of the sum"):
        node.op.infer(x, panels.with_shape(panels.shape[0], 21, panels.shape[2]), kernel, between, behind)
    with pytest.raises(ValueError, match=r"between must be \[4, 20\]"):
        node.op.infer(x, panels, kernel, between.with_shape(3, 20), behind)
    with pytest.raises(ValueError, match=r"behind must be \[4, 24\]"):
        node.op.infer(x, panels, kernel, between, between)
    with pytest.raises(TypeError, match="expected 5 inputs"):
        node.op.infer(x, panels)
