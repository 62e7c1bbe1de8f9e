"""The one generator of matrix products and convolutions for the CPU.

A contraction's source is specialised to its kind, dtype, transposes, target and epilogue; every extent arrives at
run time, so that structurally equal contractions share one compiled kernel. `contraction_extents` gives the
run-time extents in the order in which the source reads them, `contraction_work` the number of work items,
`contraction_scratch` the private memory of one thread, and `contraction_source` the source.

Operands stand in `pointers` as a, b, the epilogue's own, outputs:

- matmul: a `[batch, m, k]`, b `[batch, k, n]`, either transposed in its last two, result `[batch, m, n]`;
- convolution: x `[n, h, w, c]`, kernel `[kh, kw, c / groups, f]`, result `[n, oh, ow, f]`;
- convolution_input_gradient: gradient of the result, kernel; result shaped as x. With the roles of the extents
  exchanged this is the transposed convolution;
- packed forms of both: the kernel as panels, and after it a number that is finite where all of the kernel is;
- convolution_kernel_gradient: x, gradient of the result; result shaped as the kernel, `chunks` times, to be summed;
- winograd_convolution: x, transformed kernel `[36, c, f]`; result as that of the 3x3 convolution;
- winograd_kernel_gradient: x, gradient of the result; result `[chunks, 36, c, f]`, to be summed and transformed;
- depthwise, depthwise_input_gradient, depthwise_kernel_gradient: the same with one input channel a group.
"""

from __future__ import annotations

import dataclasses

from compiler.codegen import contraction_convolution as convolution
from compiler.codegen import contraction_kernel_gradient as kernel_gradient
from compiler.codegen import contraction_matmul as matmul
from compiler.codegen import contraction_narrow as narrow
from compiler.codegen import contraction_sizes as sizes
from compiler.codegen import depthwise
from compiler.codegen import depthwise_kernel_gradient as depthwise_sum
from compiler.codegen import winograd_convolution as winograd
from compiler.codegen import winograd_kernel_gradient as winograd_gradient
from compiler.codegen.contraction_assembly import make_pointer
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_types import (
    ContractionSource,
    ContractionSpec,
    ConvolutionGeometry,
    Epilogue,
    Geometry,
    ImageTail,
    ImageUnits,
    MatmulGeometry,
)
from compiler.codegen.microkernel import choose_tile
from compiler.target import Target
from runtime.dimensions import Dim

__all__ = [
    "ContractionSource",
    "ContractionSpec",
    "ConvolutionGeometry",
    "Epilogue",
    "Geometry",
    "ImageTail",
    "MatmulGeometry",
    "contraction_extents",
    "contraction_scratch",
    "contraction_source",
    "contraction_work",
    "extent_count",
    "image_units",
    "plain_epilogue",
    "specialised",
]

_EXTENT_COUNTS = {
    "matmul": matmul.EXTENT_COUNT,
    "convolution_kernel_gradient": kernel_gradient.EXTENT_COUNT,
    "depthwise": depthwise.EXTENT_COUNT,
    "depthwise_input_gradient": depthwise.EXTENT_COUNT,
    "depthwise_kernel_gradient": depthwise.EXTENT_COUNT,
    "winograd_convolution": winograd.EXTENT_COUNT,
    "winograd_kernel_gradient": winograd_gradient.EXTENT_COUNT,
}


def extent_count(spec: ContractionSpec) -> int:
    """How many extents the contraction itself reads; an epilogue's own follow them."""
    return _EXTENT_COUNTS.get(spec.kind, sizes.EXTENT_COUNT)


def specialised(spec: ContractionSpec, geometry: Geometry, target: Target) -> ContractionSpec:
    """The specification with the form that suits the geometry on a target."""
    if spec.packed:
        return spec
    return dataclasses.replace(spec, narrow=narrow.is_narrow(spec, geometry, target.lanes(spec.dtype)))


def contraction_extents(spec: ContractionSpec, geometry: Geometry, *, whole: bool = False) -> tuple[Dim, ...]:
    """The run-time extents, in the order in which the source reads them.

    `whole`: each work item has all channels of its pixels of a convolution's result, so that items make up images.
    Raises `ValueError` where the geometry is not one of the specification's kind.
    """
    wanted = MatmulGeometry if spec.kind == "matmul" else ConvolutionGeometry
    if not isinstance(geometry, wanted):
        raise ValueError(f"a {spec.kind} takes a {wanted.__name__}; got {geometry!r}")
    if isinstance(geometry, MatmulGeometry):
        return matmul.matmul_extents(spec, geometry)
    if spec.kind == "winograd_convolution":
        return winograd.winograd_extents(geometry)
    if spec.kind == "winograd_kernel_gradient":
        return winograd_gradient.gradient_extents(geometry)
    if spec.kind == "convolution_kernel_gradient":
        return kernel_gradient.kernel_gradient_extents(spec, geometry)
    if spec.is_depthwise:
        return depthwise.depthwise_extents(spec, geometry)
    return sizes.convolution_extents(spec, geometry, whole=whole)


def contraction_work(spec: ContractionSpec, extents: tuple[Dim, ...], target: Target) -> Dim:
    """The number of work items: a function of the extents and the target's tile, never of the threads."""
    tile = choose_tile(spec.dtype, target)
    extents = extents[: extent_count(spec)]
    if spec.kind == "matmul":
        return narrow.narrow_matmul_work(extents) if spec.narrow else matmul.matmul_work(extents, tile)
    if spec.kind == "winograd_convolution":
        return winograd.winograd_work(extents)
    if spec.kind == "winograd_kernel_gradient":
        return winograd_gradient.gradient_work(extents)
    if spec.kind == "convolution_kernel_gradient":
        return kernel_gradient.kernel_gradient_work(extents, tile)
    if spec.kind == "depthwise_kernel_gradient":
        return depthwise_sum.depthwise_sum_work(spec, extents)
    if spec.is_depthwise:
        return depthwise.gather_work(spec, extents)
    return sizes.convolution_work(spec, extents)


def image_units(spec: ContractionSpec, extents: tuple[Dim, ...], items: Dim) -> ImageUnits:
    """How the work items of a convolution or input gradient make up images.

    Raises `ValueError` where they do not, as those of a matrix product and of a kernel gradient.
    """
    images = extents[0]
    if spec.kind == "winograd_convolution":
        return ImageUnits(*winograd.item_and_image_lines(extents), images, items)
    if spec.is_depthwise:
        return ImageUnits(*depthwise.item_and_image_pixels(spec, extents), images, items)
    if items != images * (items // images):
        raise ValueError(f"the {items} work items of a {spec.kind} are not a number for each of {images} images")
    return ImageUnits(1, items // images, images, items)


def contraction_scratch(spec: ContractionSpec, extents: tuple[Dim, ...], target: Target) -> Dim:
    """Bytes of scratch that one thread needs, aligned to 64."""
    tile = choose_tile(spec.dtype, target)
    extents = extents[: extent_count(spec)]
    if spec.kind == "matmul" and spec.narrow:
        return narrow.narrow_matmul_scratch(extents, tile)
    if spec.kind == "matmul":
        return matmul.matmul_scratch(spec, extents, tile)
    if spec.kind == "winograd_convolution":
        return winograd.winograd_scratch(extents, tile)
    if spec.kind == "winograd_kernel_gradient":
        return winograd_gradient.gradient_scratch(extents, tile)
    if spec.kind == "convolution_kernel_gradient":
        return kernel_gradient.kernel_gradient_scratch(extents, tile)
    if spec.kind == "depthwise_kernel_gradient":
        return depthwise_sum.depthwise_sum_scratch(spec, extents, tile)
    if spec.is_depthwise:
        return depthwise.gather_scratch(spec, extents, tile)
    return sizes.convolution_scratch(spec, extents, tile)


def contraction_source(spec: ContractionSpec, target: Target, epilogue: Epilogue) -> ContractionSource:
    """Python source of the contraction's kernel for a target, with the epilogue in its innermost loop."""
    tile = choose_tile(spec.dtype, target)
    if spec.kind == "matmul" and spec.narrow:
        return narrow.narrow_matmul_source(spec, tile, epilogue)
    if spec.kind == "matmul":
        return matmul.matmul_source(spec, tile, epilogue)
    if spec.kind == "winograd_convolution":
        return winograd.winograd_source(tile, epilogue)
    if spec.kind == "winograd_kernel_gradient":
        return winograd_gradient.gradient_source(tile, epilogue)
    if spec.kind == "convolution_kernel_gradient":
        return kernel_gradient.kernel_gradient_source(tile, epilogue)
    if spec.kind == "depthwise_kernel_gradient":
        return depthwise_sum.depthwise_sum_source(spec, tile, epilogue)
    if spec.is_depthwise:
        return depthwise.gather_source(spec, tile, epilogue)
    return convolution.convolution_source(spec, tile, epilogue)


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
