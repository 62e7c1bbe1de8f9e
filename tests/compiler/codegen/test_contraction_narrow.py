"""Contractions with few columns: oracle, bad values, bounds, and when the form is taken."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from contraction_oracle import CONVOLUTIONS, LANES, check_convolution, check_matmul, convolution_oracle, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.codegen.contraction import (
    ContractionSpec,
    ConvolutionGeometry,
    Geometry,
    MatmulGeometry,
    extent_count,
    specialised,
)
from compiler.codegen.microkernel_tile import choose_tile
from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.target import Target, host_target
from compiler.text import parse
from runtime.dimensions import symbol


def narrow_target(lanes: int) -> Target:
    host = host_target()
    return Target("cpu", host.cpu, host.features, lanes * 4, 32)


def few_columns(lanes: int) -> st.SearchStrategy[int]:
    return st.integers(1, choose_tile("float32", narrow_target(lanes)).least_columns - 1)


@st.composite
def narrow_convolutions(draw: st.DrawFn, lanes: int) -> ConvolutionGeometry:
    small, padding = st.integers(1, 3), st.integers(0, 3)
    columns = draw(few_columns(lanes))
    geometry = ConvolutionGeometry(
        (draw(small), draw(st.integers(1, 22)), draw(st.integers(1, 22)), lanes * draw(small)),
        (draw(st.integers(1, 4)), draw(st.integers(1, 4)), lanes * draw(small), columns),
        strides=draw(st.tuples(small, small)),
        padding=draw(st.just(((0, 0), (0, 0))) | st.tuples(*[st.tuples(padding, padding)] * 2)),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
    )
    assume(min(geometry.output_shape) > 0)
    return geometry


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("kind", CONVOLUTIONS[:2])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_convolutions_with_few_columns(kind: str, lanes: int, data: st.DataObject) -> None:
    geometry = data.draw(narrow_convolutions(lanes))
    channels, filters = geometry.input_shape[3], geometry.kernel_shape[3]
    if kind == "convolution":
        kernel = (*geometry.kernel_shape[:2], channels, filters)
        geometry = dataclasses.replace(geometry, kernel_shape=kernel)
    else:
        shapes = (*geometry.input_shape[:3], filters), (*geometry.kernel_shape[:2], filters, channels)
        geometry = dataclasses.replace(geometry, input_shape=shapes[0], kernel_shape=shapes[1])
    check_convolution(kind, geometry, target=narrow_target(lanes), narrow=True)


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("transpose_b", [False, True])
@given(rows=st.integers(1, 70), depth=st.integers(1, 70), batch=st.integers(1, 2), data=st.data())
@settings(max_examples=25, deadline=None)
def test_products_with_few_columns(
    lanes: int, transpose_b: bool, rows: int, depth: int, batch: int, data: st.DataObject
) -> None:
    geometry = MatmulGeometry(rows, depth, data.draw(few_columns(lanes)), batch, True, data.draw(st.booleans()))
    target = narrow_target(lanes)
    spec = specialised(ContractionSpec("matmul", "float32", False, transpose_b), geometry, target)
    assert spec.narrow
    check_matmul(geometry, spec, target=target)


def test_what_is_narrow() -> None:
    target = narrow_target(8)

    def narrow(spec: ContractionSpec, geometry: Geometry) -> bool:
        return specialised(spec, geometry, target).narrow

    matmul, convolution = ContractionSpec("matmul", "float32"), ContractionSpec("convolution", "float32")
    assert narrow(matmul, MatmulGeometry(symbol("batch"), 30, 7))
    assert not narrow(matmul, MatmulGeometry(9, 30, 8))
    assert not narrow(matmul, MatmulGeometry(9, 30, symbol("classes")))
    assert not narrow(dataclasses.replace(matmul, transpose_a=True), MatmulGeometry(9, 30, 7))
    assert narrow(convolution, ConvolutionGeometry((2, 9, 9, 16), (3, 3, 16, 3)))
    assert not narrow(convolution, ConvolutionGeometry((2, 9, 9, 12), (3, 3, 12, 3)))
    with pytest.raises(ValueError, match="no form of matmul that is narrow and transpose_a"):
        extent_count(ContractionSpec("matmul", "float32", transpose_a=True, narrow=True))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("kind", CONVOLUTIONS[:2])
def test_a_bad_weight_meets_no_padding(kind: str, bad: float, lanes: int) -> None:
    target = narrow_target(lanes)
    forward = kind == "convolution"
    channels, filters = (16, 3) if forward else (3, 16)
    geometry = ConvolutionGeometry((2, 7, 6, channels), (3, 3, channels, filters), (2, 1), ((1, 1), (2, 1)), (1, 2))
    random = np.random.default_rng(0)
    shape = geometry.input_shape if forward else geometry.output_shape
    first = random.standard_normal(shape).astype(np.float32)
    kernel = random.standard_normal(geometry.kernel_shape).astype(np.float32)
    finite = convolution_oracle(kind, geometry, first, kernel)
    ones = np.zeros_like(kernel)
    kernel[0, 0, 0, 0], ones[0, 0, 0, 0] = bad, 1
    # Where the bad weight has a product at all: its tap falls inside the image.
    reached = convolution_oracle(kind, geometry, np.ones_like(first), ones) > 0
    result = run(ContractionSpec(kind, "float32", narrow=True), geometry, (first, kernel), finite.shape, target=target)
    assert reached.any()
    assert not reached.all()
    assert not np.isfinite(result[reached]).any()
    np.testing.assert_allclose(result[~reached], finite[~reached], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lanes", LANES)
def test_bad_values_stay_in_their_row_and_column(lanes: int) -> None:
    random = np.random.default_rng(0)
    a, b = random.standard_normal((1, 13, 19)), random.standard_normal((1, 19, 3))
    a[0, 4, 18], b[0, 3, 2] = np.inf, np.nan
    spec = ContractionSpec("matmul", "float32", narrow=True)
    operands = a.astype(np.float32), b.astype(np.float32)
    result = run(spec, MatmulGeometry(13, 19, 3), operands, (1, 13, 3), target=narrow_target(lanes))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(result, a @ b, rtol=1e-4, atol=1e-4)


TAIL = """
graph tail {{
  input %0 "x": f32[n,9,11,32]
  input %1 "scale": f32[n,{height},{width}]
  input %2 "residual": f32[n,{height},{width},3]
  variable %3 "kernel": f32[3,3,{kernel}]
  variable %4 "bias": f32[3]
  %5: f32[n,{height},{width},3] = {op}
  %6: f32[n,{height},{width},3] = broadcast(%4) {{shape=(n, {height}, {width}, 3), axes=(3,)}}
  %7: f32[n,{height},{width},3] = broadcast(%1) {{shape=(n, {height}, {width}, 3), axes=(0, 1, 2)}}
  %8: f32[n,{height},{width},3] = add(%5, %6)
  %9: f32[n,{height},{width},3] = sigmoid(%8)
  %10: f32[n,{height},{width},3] = multiply(%9, %7)
  %11: f32[n,{height},{width},3] = add(%10, %2)
  return "y"=%11
}}
"""
SLIDING = "padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1}"


@pytest.mark.parametrize(
    ("op", "kernel", "height", "width"),
    [
        ("convolution(%0, %3) {strides=(1, 1), " + SLIDING, "32,3", 9, 11),
        (
            "convolution_input_gradient(%0, %3) {input_spatial=(17, 21), strides=(2, 2), " + SLIDING,
            "3,32",
            17,
            21,
        ),
    ],
    ids=["forward", "transposed"],
)
def test_a_tail_runs_along_the_memory_of_the_result(op: str, kernel: str, height: int, width: int) -> None:
    graph = parse(TAIL.format(op=op, kernel=kernel, height=height, width=width))
    compiled = compile_graph(graph)
    generator = np.random.default_rng(0)
    shapes = (2, 9, 11, 32), (2, height, width), (2, height, width, 3)
    inputs = [generator.normal(size=shape).astype("float32") for shape in shapes]
    state = [generator.normal(size=shape).astype("float32") for shape in (graph.variables[0].value.type.shape, (3,))]
    wide, _ = interpret(graph, [a.astype("float64") for a in inputs], [a.astype("float64") for a in state])
    (result,) = compiled.executable.run(inputs, state)
    np.testing.assert_allclose(result, wide[0], rtol=1e-4, atol=1e-5)
    (source,) = (kernel.source for kernel in compiled.program.kernels if "contract(" in kernel.source)
    assert "[place]" in source, "neighbours in memory must be seen as neighbours"
