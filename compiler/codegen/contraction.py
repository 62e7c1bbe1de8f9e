"""The one generator of matrix products and convolutions for the CPU.

A contraction's source is specialised to its kind, dtype, transposes, target and epilogue; every extent arrives at
run time, so that structurally equal contractions share one compiled kernel. `GENERATORS` is the table of kinds: each is
a `Generator` in the module of its driver. An op says of itself which kind it is (`compiler.contractions`).

Operands stand in `pointers` as the contraction's own, which each generator names, the epilogue's own, outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from compiler.codegen.contraction_assembly import make_pointer
from compiler.codegen.contraction_convolution import ConvolutionGenerator
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_kernel_gradient import KernelGradientGenerator
from compiler.codegen.contraction_matmul import MatmulGenerator
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator, ImageTail, ImageUnits
from compiler.codegen.depthwise import DepthwiseGenerator
from compiler.codegen.depthwise_kernel_gradient import DepthwiseKernelGradientGenerator
from compiler.codegen.depthwise_separable import SeparableGenerator
from compiler.codegen.microkernel_tile import choose_tile
from compiler.codegen.winograd_convolution import WinogradGenerator
from compiler.codegen.winograd_kernel_gradient import WinogradKernelGradientGenerator
from compiler.contractions import ContractionSpec, ConvolutionGeometry, Geometry, MatmulGeometry
from compiler.target import Target
from runtime.dimensions import Dim

__all__ = [
    "GENERATORS",
    "ContractionSource",
    "ContractionSpec",
    "ConvolutionGeometry",
    "Epilogue",
    "Geometry",
    "ImageTail",
    "MatmulGeometry",
    "contraction_extents",
    "contraction_fills",
    "contraction_keeps",
    "contraction_scratch",
    "contraction_source",
    "contraction_work",
    "extent_count",
    "generator_of",
    "image_units",
    "plain_epilogue",
    "specialised",
]

GENERATORS: Mapping[str, Generator[Any]] = {
    "matmul": MatmulGenerator(),
    "convolution": ConvolutionGenerator(backward=False),
    "convolution_input_gradient": ConvolutionGenerator(backward=True),
    "convolution_kernel_gradient": KernelGradientGenerator(),
    "winograd_convolution": WinogradGenerator(),
    "winograd_kernel_gradient": WinogradKernelGradientGenerator(),
    "depthwise": DepthwiseGenerator(backward=False),
    "depthwise_input_gradient": DepthwiseGenerator(backward=True),
    "depthwise_kernel_gradient": DepthwiseKernelGradientGenerator(),
    "separable_convolution": SeparableGenerator(),
}


def generator_of(spec: ContractionSpec) -> Generator[Any]:
    """The generator of a kind; `ValueError` for an unknown one, and for a form that it does not have."""
    if spec.kind not in GENERATORS:
        raise ValueError(f"the kind of a contraction is one of {', '.join(GENERATORS)}; got {spec.kind!r}")
    generator = GENERATORS[spec.kind]
    generator.check(spec)
    return generator


def extent_count(spec: ContractionSpec) -> int:
    """How many extents the contraction itself reads; an epilogue's own follow them."""
    return generator_of(spec).extent_count


def specialised(spec: ContractionSpec, geometry: Geometry, target: Target) -> ContractionSpec:
    """The specification with the form that suits the geometry on a target."""
    if spec.packed:
        return spec
    narrow = generator_of(spec).is_narrow(spec, geometry, choose_tile(spec.dtype, target))
    return dataclasses.replace(spec, narrow=narrow)


def contraction_extents(spec: ContractionSpec, geometry: Geometry, *, whole: bool = False) -> tuple[Dim, ...]:
    """The run-time extents, in the order in which the source reads them.

    `whole`: each work item has all channels of its pixels of a convolution's result, so that items make up images.
    Raises `ValueError` where the geometry is not one of the specification's kind.
    """
    generator = generator_of(spec)
    if not isinstance(geometry, generator.geometry):
        raise ValueError(f"a {spec.kind} takes a {generator.geometry.__name__}; got {geometry!r}")
    return generator.extents(spec, geometry, whole=whole)


def contraction_work(spec: ContractionSpec, extents: tuple[Dim, ...], target: Target) -> Dim:
    """The number of work items: a function of the extents and the target's tile, never of the threads."""
    generator = generator_of(spec)
    return generator.work(spec, extents[: generator.extent_count], choose_tile(spec.dtype, target))


def contraction_fills(spec: ContractionSpec, geometry: Geometry) -> bool:
    """Whether a call that begins anew packs an operand, or each reads all images, whatever items it computes."""
    return generator_of(spec).fills(spec, geometry)


def contraction_keeps(spec: ContractionSpec, geometry: Geometry) -> bool:
    """Whether a call may go on with what the thread's last one left in private memory, where that one ended."""
    return generator_of(spec).keeps(spec, geometry)


def image_units(spec: ContractionSpec, extents: tuple[Dim, ...], items: Dim) -> ImageUnits:
    """How the work items of a convolution or input gradient make up images.

    Raises `ValueError` where they do not, as those of a matrix product and of a kernel gradient.
    """
    return generator_of(spec).image_units(spec, extents, items)


def contraction_scratch(spec: ContractionSpec, extents: tuple[Dim, ...], target: Target) -> Dim:
    """Bytes of scratch that one thread needs, aligned to 64."""
    generator = generator_of(spec)
    return generator.scratch(spec, extents[: generator.extent_count], choose_tile(spec.dtype, target))


def contraction_source(spec: ContractionSpec, target: Target, epilogue: Epilogue) -> ContractionSource:
    """Python source of the contraction's kernel for a target, with the epilogue in its innermost loop."""
    return generator_of(spec).source(spec, choose_tile(spec.dtype, target), epilogue)


def plain_epilogue(dtype: str, output: int = 2, *, narrow: bool = False) -> Epilogue:
    """Store each element to operand `output`; `narrow` as in the specification."""

    def body(value: str, row: str, column: str) -> list[str]:
        place = "place" if narrow else f"{row} * output_columns + {column}"
        return [f"p{output}[{place}] = {value}"]

    return Epilogue(
        body=body,
        prelude=(f"p{output} = output_pointer(pointers[{output}])",),
        namespace={"output_pointer": make_pointer(dtype)},
        streams=((output, element_bytes(dtype)),),
    )
