"""Maps over blocks: the gradient of a maximum over separate windows, alone and with what is fused to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import functions as f
from compiler.codegen.cpu import print_loop_kernel
from compiler.driver import compile_graph
from compiler.ir import Builder, Graph
from compiler.loops import LoopKernel
from compiler.lower import lower_group
from compiler.ops.max_pooling import MaxPool, MaxPoolGradient
from compiler.tiles import tile_of
from compiler.types import TensorType
from runtime.dimensions import symbol

Sizes = tuple[int, ...]


def scattered(x: np.ndarray, g: np.ndarray, size: Sizes, strides: Sizes) -> np.ndarray:
    """Window by window: the cotangent goes to the first greatest element, or the first NaN."""
    result = np.zeros(x.shape)
    for batch, *output, channel in np.ndindex(*g.shape):
        corner = [at * stride for at, stride in zip(output, strides, strict=True)]
        window = tuple(slice(at, at + extent) for at, extent in zip(corner, size, strict=True))
        flat = int(np.argmax(x[(batch, *window, channel)]))  # argmax takes the first NaN, or the first maximum
        offset = np.unravel_index(flat, size)
        place = (batch, *(at + int(part) for at, part in zip(corner, offset, strict=True)), channel)
        result[place] += g[(batch, *output, channel)]
    return result


def gradient_graph(x: TensorType, size: Sizes, strides: Sizes, masked: bool) -> Graph:
    b = Builder("step")
    attributes = (size, strides, ((0, 0),) * len(size))
    source = b.input("x", x)
    pooled = b.emit(MaxPool(*attributes), source)
    result = b.emit(MaxPoolGradient(*attributes), source, pooled, b.input("g", pooled.type))
    if masked:
        scale = b.input("scale", TensorType((x.shape[-1],)))
        result = f.where(b, f.greater(b, source, 0.0), f.multiply(b, result, scale), 0.0)
    b.output("gradient", result)
    return b.build()


@st.composite
def cases(draw: st.DrawFn) -> tuple[Sizes, Sizes, Sizes]:
    rank = draw(st.integers(1, 3))
    size = tuple(draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)))
    strides = tuple(extent + draw(st.integers(0, 1)) for extent in size)
    spatial = tuple(draw(st.integers(extent, 9)) for extent in size)
    return (draw(st.integers(1, 3)), *spatial, draw(st.sampled_from([1, 3, 16, 33]))), size, strides


@given(case=cases(), masked=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_cotangent_goes_to_the_first_greatest_element(
    case: tuple[Sizes, Sizes, Sizes], masked: bool, seed: int
) -> None:
    shape, size, strides = case
    random = np.random.default_rng(seed)
    x = random.integers(-2, 3, shape).astype("float32")  # many ties
    x.flat[random.integers(0, x.size, max(1, x.size // 20))] = np.nan
    x.flat[random.integers(0, x.size, max(1, x.size // 20))] = -np.inf
    graph = gradient_graph(TensorType(shape), size, strides, masked)
    g = random.normal(size=graph.inputs[1].value.type.shape).astype("float32")
    arrays = [x, g, np.full(shape[-1], 2.0, "float32")][: len(graph.inputs)]
    (result,) = compile_graph(graph).executable.run(arrays, [])
    expected = scattered(x, g, size, strides)
    np.testing.assert_array_equal(result, np.where(x > 0, 2 * expected, 0) if masked else expected)


def test_symbolic_extents_run_any_size() -> None:
    shape = (symbol("batch"), symbol("height"), symbol("width"), 8)
    compiled = compile_graph(gradient_graph(TensorType(shape), (2, 2), (2, 2), masked=True))
    random = np.random.default_rng(0)
    for extents in ((1, 2, 2), (3, 7, 4), (2, 6, 5), (2, 8, 8)):
        x = random.normal(size=(*extents, 8)).astype("float32")
        g = random.normal(size=(extents[0], extents[1] // 2, extents[2] // 2, 8)).astype("float32")
        (result,) = compiled.executable.run([x, g, np.ones(8, "float32")], [])
        np.testing.assert_array_equal(result, np.where(x > 0, scattered(x, g, (2, 2), (2, 2)), 0))


def lowered(shape: Sizes, size: Sizes, strides: Sizes, low: int = 0) -> tuple[Graph, LoopKernel]:
    b = Builder("body")
    attributes = (size, strides, ((low, 0),) * len(size))
    x = TensorType(shape)
    (y,) = MaxPool(*attributes).infer(x)
    values = [b.input(name, type_) for name, type_ in (("x", x), ("y", y), ("g", y))]
    b.output("result", b.emit(MaxPoolGradient(*attributes), *values))
    body = b.build()
    kernel = lower_group(body)
    assert isinstance(kernel, LoopKernel)
    return body, kernel


def test_each_element_of_a_window_is_compared_once() -> None:
    _, kernel = lowered((4, 6, 8, 16), (2, 2), (2, 2))
    text = print_loop_kernel(kernel).source
    assert text.count("p3[") == 4, "one store an element of the window"
    assert text.count("= p0[") == 4, "one load an element"
    assert text.count("= p1[") == text.count("= p2[") == 1
    assert kernel.work == 4 * 3 * 4


@pytest.mark.parametrize(
    ("size", "strides", "low"),
    [((3, 3), (2, 2), 0), ((2, 2), (2, 2), 1), ((5, 5), (5, 5), 0)],
    ids=["overlapping", "padded", "large"],
)
def test_other_windows_go_element_by_element(size: Sizes, strides: Sizes, low: int) -> None:
    body, kernel = lowered((2, 10, 10, 4), size, strides, low)
    assert tile_of(body) is None
    assert kernel.work == 2 * 10 * 10
