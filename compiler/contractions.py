"""What a contraction is, as plain data: an op says it of itself, and the generator of the CPU makes a kernel of it.

`Op.contraction` gives a `Contraction`; `compiler.codegen.contraction` has the table of its kinds. Ops import this
module where they describe themselves, not at start: a program that comes from the cache describes none.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.dimensions import Dim
from runtime.records import record

__all__ = [
    "CONTRACTION_DTYPES",
    "Contraction",
    "ContractionSpec",
    "ConvolutionGeometry",
    "Geometry",
    "MatmulGeometry",
    "SeparableGeometry",
    "convolution_geometry",
]

CONTRACTION_DTYPES = ("float32", "float64")


@record
class ContractionSpec:
    """What specialises the source of a contraction; equal specifications share one compiled kernel.

    `kind`: a key of the table in `compiler.codegen.contraction`, which checks it and whether the kind has such a form.
    `transpose_a`: the matmul's a is [.., depth, rows]. `transpose_b`: its b is [.., columns, depth].
    `narrow`: the result has fewer columns than half of a register tile (see `compiler.codegen.contraction_narrow`).
    `packed`: the right operand comes as panels; a convolution's with a number that is finite where all of it is.
    `direct`: the driver of a separable convolution stores the result itself: panels are whole, the epilogue is none.
    Raises `ValueError` for a dtype other than float32 and float64.
    """

    kind: str
    dtype: str
    transpose_a: bool = False
    transpose_b: bool = False
    narrow: bool = False
    packed: bool = False
    direct: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in CONTRACTION_DTYPES:
            known = " or ".join(CONTRACTION_DTYPES)
            raise ValueError(f"a contraction is computed in {known}, got {self.dtype!r}; cast its operands first")


class Geometry:
    """The extents of a contraction. Each family of kinds has its own, a frozen dataclass."""

    __slots__ = ()


@record
class MatmulGeometry(Geometry):
    """Extents of `batch` products [rows, depth] @ [depth, columns]; operands are dense and row-major.

    `a_batched`, `b_batched`: whether that operand has one matrix a batch entry or one for all.
    """

    rows: Dim
    depth: Dim
    columns: Dim
    batch: Dim = 1
    a_batched: bool = True
    b_batched: bool = True


@record
class ConvolutionGeometry(Geometry):
    """Extents of a 2-D convolution, the same for its forward pass and both of its gradients.

    `input_shape`: [images, height, width, channels]. `kernel_shape`: [height, width, channels / groups, filters].
    `padding`: ((top, bottom), (left, right)) in input pixels. Strides and dilation are (vertical, horizontal).
    A one-dimensional convolution has height 1. `chunks`: parts of the sum of a kernel gradient.
    Strides, dilation, groups and the kernel's height and width are ints; padding is a size where it keeps images of
    unknown extents "same" under a stride. Raises `ValueError` for a stride, dilation or groups below 1 or a known
    padding that is negative.
    """

    input_shape: tuple[Dim, Dim, Dim, Dim]
    kernel_shape: tuple[int, int, Dim, Dim]
    strides: tuple[int, int] = (1, 1)
    padding: tuple[tuple[Dim, Dim], tuple[Dim, Dim]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    chunks: int = 1

    def __post_init__(self) -> None:
        least = min(*self.strides, *self.dilation, self.groups)
        if least < 1:
            raise ValueError(
                "strides, dilation and groups of a convolution are at least 1; got "
                f"strides={self.strides}, dilation={self.dilation}, groups={self.groups}"
            )
        if any(isinstance(amount, int) and amount < 0 for pair in self.padding for amount in pair):
            raise ValueError(f"the padding of a convolution is not negative; got {self.padding}")

    @property
    def output_shape(self) -> tuple[Dim, Dim, Dim, Dim]:
        """[images, height, width, filters] of the forward result."""
        height, width = (
            (
                self.input_shape[1 + axis]
                + sum(self.padding[axis])
                - self.dilation[axis] * (self.kernel_shape[axis] - 1)
                - 1
            )
            // self.strides[axis]
            + 1
            for axis in (0, 1)
        )
        return (self.input_shape[0], height, width, self.kernel_shape[3])


@record
class SeparableGeometry(Geometry):
    """A depthwise convolution of one filter a channel, and `filters` of the 1x1 convolution behind it."""

    depthwise: ConvolutionGeometry
    filters: int


@record
class Contraction:
    """What an op computes, in the terms of the contraction generator."""

    spec: ContractionSpec
    geometry: Geometry


def convolution_geometry(
    image: Sequence[Dim],
    kernel: Sequence[Dim],
    strides: Sequence[int],
    padding: Sequence[tuple[Dim, Dim]],
    dilation: Sequence[int],
    groups: int = 1,
    chunks: int = 1,
) -> ConvolutionGeometry | None:
    """That of a convolution of images of shape `image`, or of one of its gradients.

    One spatial axis becomes the second of two. None with three, or where the kernel's extents are not all known.
    """
    if len(image) not in (3, 4) or not all(isinstance(extent, int) for extent in kernel):
        return None
    if len(image) == 3:
        image, kernel = (image[0], 1, *image[1:]), (1, *kernel)
        strides, padding, dilation = (1, *strides), ((0, 0), *padding), (1, *dilation)
    shapes = (tuple(image), tuple(kernel))
    return ConvolutionGeometry(*shapes, tuple(strides), tuple(padding), tuple(dilation), groups, chunks)  # type: ignore[arg-type]
