from __future__ import annotations

import pytest

import compiler.ops  # noqa: F401  (fills the registry)
from compiler.inspect import contraction_flops
from compiler.inspect.operations import core_of
from compiler.ir import Fusion
from compiler.ops.registry import OPS
from compiler.pipeline import run_pipeline
from compiler.text import parse
from compiler.types import TensorType
from runtime.dimensions import Dim, evaluate, symbol

DENSE = parse("""
graph dense {
  input %0 "x": f32[n,5]
  variable %1 "w": f32[5,3]
  %2: f32[n,3] = matmul(%0, %1) {transpose_a=False, transpose_b=False} @"dense"
  %3: f32[n,3] = add(%2, %2) @"double"
  return "y"=%3
}
""")

CONVOLUTION = parse("""
graph convolution {
  input %0 "x": f32[n,9,7,4]
  variable %1 "w": f32[3,2,2,6]
  %2: f32[n,5,6,6] = convolution(%0, %1) {strides=(2, 1), padding=((1, 1), (0, 0)), dilation=(1, 1), groups=2}
  return "y"=%2
}
""")


def flops(name: str, attributes: dict[str, object], *shapes: tuple[int, ...]) -> Dim:
    op = OPS[name](**attributes)
    inputs = [TensorType(shape) for shape in shapes]
    return 2 * op.multiply_adds(inputs, op.infer(*inputs))


def test_a_product_costs_two_operations_for_each_step_of_each_sum() -> None:
    assert contraction_flops(DENSE) == symbol("n") * 2 * 5 * 3


def test_a_convolution_counts_padding_and_the_channels_of_one_group() -> None:
    # 5 x 6 x 6 results an image, each a sum over 3 x 2 taps and 2 of the 4 channels.
    assert contraction_flops(CONVOLUTION) == symbol("n") * 2 * (5 * 6 * 6) * (3 * 2 * 2)


@pytest.mark.parametrize("graph", [DENSE, CONVOLUTION], ids=lambda graph: graph.name)
def test_fusing_leaves_the_count_as_it_is(graph: object) -> None:
    assert contraction_flops(run_pipeline(graph)) == contraction_flops(graph)  # type: ignore[arg-type]


@pytest.mark.parametrize("flip_a", [False, True])
@pytest.mark.parametrize("flip_b", [False, True])
def test_transposes_and_batches_of_products(flip_a: bool, flip_b: bool) -> None:
    left, right = (7, 3, 11), (7, 11, 5)
    a = (left[0], left[2], left[1]) if flip_a else left
    b = (right[0], right[2], right[1]) if flip_b else right
    assert flops("matmul", {"transpose_a": flip_a, "transpose_b": flip_b}, a, b) == 2 * 7 * 3 * 11 * 5


def test_both_gradients_of_a_convolution_cost_what_it_does() -> None:
    rest = {"strides": (2,), "padding": ((1, 1),), "dilation": (1,), "groups": 1}
    x, kernel, y = (2, 10, 3), (4, 3, 8), (2, 5, 8)
    expected = 2 * (2 * 5 * 8) * (4 * 3)
    assert flops("convolution", rest, x, kernel) == expected
    assert flops("convolution_input_gradient", {"input_spatial": (10,), **rest}, y, kernel) == expected
    assert flops("convolution_kernel_gradient", {"kernel_spatial": (4,), **rest}, x, y) == expected


def test_every_contraction_counts_and_nothing_else_does() -> None:
    for name, op in OPS.items():
        for sample, arrays in list(op.samples())[:1]:
            inputs = [TensorType(array.shape, array.dtype.name) for array in arrays]
            counted = sample.multiply_adds(inputs, sample.infer(*inputs))
            assert (evaluate(counted, {}) > 0) == (op.fusion in (Fusion.CONTRACTION, Fusion.LOOP)), name


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 0), (0, 0))])
def test_winograd_counts_as_the_direct_convolution(padding: tuple[tuple[int, int], ...]) -> None:
    x, kernel = (2, 10, 12, 16), (3, 3, 16, 24)
    output = (2, *(extent - 2 + sum(pair) for extent, pair in zip(x[1:-1], padding, strict=True)), 24)
    expected = flops("convolution", {"strides": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1}, x, kernel)
    assert flops("winograd_convolution", {"padding": padding}, x, (36, 16, 24)) == expected
    for chunks in (1, 3):
        assert flops("winograd_kernel_gradient", {"padding": padding, "chunks": chunks}, x, output) == expected


@pytest.mark.parametrize(
    ("line", "core"),
    [
        ("%y: f32[n,3] = matmul(%x, %w)", "matmul"),
        ("%y: i32[n], %z: i32[8] = sorted_rows(%i) {extent=7}", "sorted_rows"),
        ("%y: f32[n,5] = exp(%x)", None),
    ],
)
def test_what_a_kernel_is_built_around(line: str, core: str | None) -> None:
    inputs = 'input %x "x": f32[n,5]\ninput %w "w": f32[5,3]\ninput %i "i": i32[n]'
    body = parse(f'graph g {{\n{inputs}\n{line}\nreturn "y"=%y\n}}')
    found = core_of(body)
    assert (None if found is None else found.op.name) == core
