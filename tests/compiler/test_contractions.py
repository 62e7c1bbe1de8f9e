"""How ops describe themselves to the contraction generator: kinds that it has, sums as long as the op's definition."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

import compiler.ops  # noqa: F401  (fills the registry)
from compiler.codegen.contraction import GENERATORS, generator_of
from compiler.codegen.kernels import contraction_of
from compiler.contractions import Contraction, ConvolutionGeometry, MatmulGeometry, SeparableGeometry
from compiler.ir import Fusion, Op
from compiler.ops.contraction import Matmul
from compiler.ops.convolution import Convolution
from compiler.ops.kernel_gradient_parts import ConvolutionKernelGradientParts
from compiler.ops.packed_convolution import PackedConvolution
from compiler.ops.packed_matmul import PackedMatmul
from compiler.ops.registry import OPS
from compiler.ops.separable_convolution import SeparableConvolution
from compiler.ops.winograd import WinogradConvolution, WinogradKernelGradient
from compiler.types import TensorType
from runtime.dimensions import symbol

BATCH = symbol("batch")
SAME = ((1, 1), (1, 1))
ONES = (1, 1)
IMAGES, RESULTS, SCALAR = TensorType((BATCH, 8, 8, 16)), TensorType((BATCH, 8, 8, 32)), TensorType(())

# What passes make, which has no samples: op, its inputs, its kind.
CHOSEN: list[tuple[Op, tuple[TensorType, ...], str]] = [
    (
        PackedConvolution((3, 3, 16, 32), (), ONES, SAME, ONES),
        (IMAGES, TensorType((2, 144, 16)), SCALAR),
        "convolution",
    ),
    (
        PackedConvolution((3, 3, 16, 32), (8, 8), ONES, SAME, ONES),
        (RESULTS, TensorType((1, 288, 16)), SCALAR),
        "convolution_input_gradient",
    ),
    (
        ConvolutionKernelGradientParts((3, 3), ONES, SAME, ONES, 1, 4),
        (IMAGES, RESULTS),
        "convolution_kernel_gradient",
    ),
    (WinogradConvolution(SAME), (IMAGES, TensorType((36, 16, 32))), "winograd_convolution"),
    (WinogradKernelGradient(SAME, 4), (IMAGES, RESULTS), "winograd_kernel_gradient"),
    (PackedMatmul(40), (TensorType((BATCH, 5, 7)), TensorType((3, 7, 16))), "matmul"),
    (
        SeparableConvolution(24, ONES, SAME, ONES),
        (IMAGES, *(TensorType(shape) for shape in ((2, 16, 16), (3, 3, 1, 16), (4, 16), (4, 24)))),
        "separable_convolution",
    ),
]


def sampled() -> Iterator[tuple[Op, tuple[TensorType, ...]]]:
    for cls in OPS.values():
        if cls.fusion is Fusion.CONTRACTION:
            for op, arrays in cls.samples():
                yield op, tuple(TensorType(array.shape, "float32") for array in arrays)


def described(op: Op, inputs: tuple[TensorType, ...]) -> Contraction | None:
    return contraction_of(op, (*inputs, *op.infer(*inputs)))


def products(contraction: Contraction) -> object:
    """Multiply-adds of a geometry by its definition."""
    g = contraction.geometry
    if isinstance(g, MatmulGeometry):
        return g.batch * g.rows * g.depth * g.columns
    if isinstance(g, SeparableGeometry):
        taps = math.prod(g.depthwise.kernel_shape[:2])  # type: ignore[arg-type]
        return math.prod(g.depthwise.output_shape) * (taps + g.filters)  # type: ignore[arg-type]
    assert isinstance(g, ConvolutionGeometry)
    return math.prod(g.output_shape) * math.prod(g.kernel_shape[:3])  # type: ignore[arg-type]


@pytest.mark.parametrize(("op", "inputs"), list(sampled()), ids=str)
def test_every_sample_is_described_but_those_with_three_spatial_axes(op: Op, inputs: tuple[TensorType, ...]) -> None:
    found = described(op, inputs)
    if inputs[0].rank == 5:
        assert found is None
        return
    assert found is not None
    assert isinstance(found.geometry, generator_of(found.spec).geometry)
    assert products(found) == op.multiply_adds(inputs, op.infer(*inputs))


@pytest.mark.parametrize(("op", "inputs", "kind"), CHOSEN, ids=str)
def test_what_passes_choose_is_described(op: Op, inputs: tuple[TensorType, ...], kind: str) -> None:
    found = described(op, inputs)
    assert found is not None
    assert (found.spec.kind, found.spec.packed) == (kind, isinstance(op, PackedConvolution | PackedMatmul))
    assert isinstance(found.geometry, generator_of(found.spec).geometry)
    assert products(found) == op.multiply_adds(inputs, op.infer(*inputs))


def test_every_kind_is_some_ops() -> None:
    kinds = {kind for _, _, kind in CHOSEN}
    for op, inputs in sampled():
        found = described(op, inputs)
        kinds |= {found.spec.kind} if found else set()
    assert kinds == set(GENERATORS)


def test_one_right_factor_for_a_batch_makes_more_rows() -> None:
    found = described(Matmul(), (TensorType((BATCH, 5, 7)), TensorType((7, 3))))
    assert found is not None
    assert found.geometry == MatmulGeometry(BATCH * 5, 7, 3, 1, True, False)
    transposed = described(Matmul(transpose_a=True), (TensorType((BATCH, 7, 5)), TensorType((7, 3))))
    assert transposed is not None
    assert transposed.geometry == MatmulGeometry(5, 7, 3, BATCH, True, False)


def test_half_floats_and_integers_are_loops() -> None:
    for dtype in ("float16", "int32"):
        assert described(Matmul(), (TensorType((2, 3), dtype), TensorType((3, 4), dtype))) is None
    kernel = TensorType((3, 3, 16, symbol("filters")))
    assert described(Convolution(ONES, SAME, ONES), (IMAGES, kernel)) is None
