"""What a contraction is, independent of how it is computed: its specification, its geometry, its epilogue."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from compiler.codegen.contraction_ir import element_bytes
from runtime.dimensions import Dim

__all__ = [
    "NARROW_KINDS",
    "ContractionSource",
    "ContractionSpec",
    "ConvolutionGeometry",
    "Epilogue",
    "Geometry",
    "ImageTail",
    "ImageUnits",
    "MatmulGeometry",
]

Kind = Literal[
    "matmul",
    "convolution",
    "convolution_input_gradient",
    "convolution_kernel_gradient",
    "winograd_convolution",
    "winograd_kernel_gradient",
    "depthwise",
    "depthwise_input_gradient",
    "depthwise_kernel_gradient",
]
KINDS: tuple[str, ...] = get_args(Kind)
WHOLE_ITEMS = ("winograd_convolution", "winograd_kernel_gradient", "depthwise", "depthwise_input_gradient")
PACKED_KINDS = ("convolution", "convolution_input_gradient")
NARROW_KINDS = ("matmul", "convolution", "convolution_input_gradient")


@dataclasses.dataclass(frozen=True, slots=True)
class ContractionSpec:
    """What specialises the source of a contraction; equal specifications share one compiled kernel.

    `transpose_a`: the matmul's a is [.., depth, rows]. `transpose_b`: its b is [.., columns, depth].
    `narrow`: the result has fewer columns than a vector has lanes (see `contraction_narrow`).
    `packed`: the convolution's kernel comes as panels, with a number that is finite where all of it is.
    Raises `ValueError` for an unknown kind, a dtype other than float32 and float64, a transposed convolution, or a
    narrow or packed form of a kind that has none.
    """

    kind: Kind
    dtype: str
    transpose_a: bool = False
    transpose_b: bool = False
    narrow: bool = False
    packed: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the kind of a contraction is one of {', '.join(KINDS)}; got {self.kind!r}")
        element_bytes(self.dtype)
        if self.kind != "matmul" and (self.transpose_a or self.transpose_b):
            raise ValueError(f"transpose_a and transpose_b are for matmul only; got them with {self.kind!r}")
        if self.narrow and (self.kind not in NARROW_KINDS or self.transpose_a):
            raise ValueError(f"there is no narrow form of {self}")
        if self.packed and (self.kind not in PACKED_KINDS or self.narrow):
            raise ValueError(f"there is no packed form of {self}")

    @property
    def is_depthwise(self) -> bool:
        """Whether each group of the convolution has one input channel, and there is more than one group."""
        return self.kind.startswith("depthwise")

    def fills(self, geometry: Geometry) -> bool:
        """Whether each call packs an operand, or reads all images, whatever part of the work items it computes."""
        if self.packed or self.kind in WHOLE_ITEMS:
            return False
        return not isinstance(geometry, ConvolutionGeometry) or geometry.chunks == 1


@dataclasses.dataclass(frozen=True, slots=True)
class MatmulGeometry:
    """Extents of `batch` products [rows, depth] @ [depth, columns]; operands are dense and row-major.

    `a_batched`, `b_batched`: whether that operand has one matrix a batch entry or one for all.
    """

    rows: Dim
    depth: Dim
    columns: Dim
    batch: Dim = 1
    a_batched: bool = True
    b_batched: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class ConvolutionGeometry:
    """Extents of a 2-D convolution, the same for its forward pass and both of its gradients.

    `input_shape`: [images, height, width, channels]. `kernel_shape`: [height, width, channels / groups, filters].
    `padding`: ((top, bottom), (left, right)) in input pixels. Strides and dilation are (vertical, horizontal).
    A one-dimensional convolution has height 1. `chunks`: parts of the sum of a kernel gradient.
    Strides, padding, dilation, groups and the kernel's height and width are ints. Raises `ValueError` for a stride,
    dilation or groups below 1 or a negative padding.
    """

    input_shape: tuple[Dim, Dim, Dim, Dim]
    kernel_shape: tuple[int, int, Dim, Dim]
    strides: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
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
        if min(*self.padding[0], *self.padding[1]) < 0:
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


Geometry = MatmulGeometry | ConvolutionGeometry


@dataclasses.dataclass(frozen=True)
class ImageUnits:
    """How a contraction's work items, in order, make up the images of its result.

    An item is `item_lines` lines and an image `image_lines`; lines are counted through all images. The least number of
    items that ends where an image ends is a *unit*: `unit_items` items, `unit_images` images.
    """

    item_lines: int
    image_lines: Dim
    images: Dim
    items: Dim

    @property
    def _common(self) -> int:
        known = isinstance(self.image_lines, int) and self.image_lines > 0
        return math.gcd(self.item_lines, self.image_lines) if known else 1

    @property
    def unit_items(self) -> Dim:
        """Items of a unit."""
        return self.image_lines // max(self._common, 1)

    @property
    def unit_images(self) -> int:
        """Images of a unit."""
        return self.item_lines // max(self._common, 1)

    @property
    def extents(self) -> tuple[Dim, ...]:
        """What a kernel reads: items of a unit, lines of an item and of an image, images, items."""
        return (self.unit_items, self.item_lines, self.image_lines, self.images, self.items)


@dataclasses.dataclass(frozen=True)
class ImageTail:
    """What a contraction's kernel runs when it has stored whole images; its work items are then units of images.

    `body`: statements for the images `first_image` to `next_image`. `sizes`: the names of `ImageUnits.extents`.
    """

    body: Sequence[str]
    sizes: tuple[str, str, str, str, str]


@dataclasses.dataclass(frozen=True, eq=False)
class Epilogue:
    """The elementwise tail of a contraction, run on each tile of results while it is in the first-level cache.

    `body(value, row, column)` gives Python statements, unindented, that consume the finished element named
    `value` at position (`row`, `column`) of the output matrix and store what comes of it: `row` counts over all
    leading output dimensions flattened, `column` is the index in the last one. They stand in the innermost loop.
    `prelude`: statements run once at the head of the kernel, such as `p3 = pointer_float32(pointers[3])`.
    `namespace`: what both refer to.

    `streams`: index and element bytes of the operands that are matrices of the output's shape, read or written at
    (`row`, `column`). A hint that costs and changes nothing: their cache lines are asked for ahead.

    They may read the kernel's parameters and `output_columns`, the output's last extent; in a narrow kernel also
    `place`, which is `row * output_columns + column`. Names that they assign must contain a digit, as `v0` or `p3` do;
    the driver's own names contain none. Extents that they read follow
    the contraction's own: at `extents[extent_count(spec)]` and after.
    """

    body: Callable[[str, str, str], Sequence[str]]
    prelude: Sequence[str] = ()
    namespace: Mapping[str, object] = dataclasses.field(default_factory=dict)
    streams: Sequence[tuple[int, int]] = ()
    images: ImageTail | None = None


@dataclasses.dataclass(frozen=True)
class ContractionSource:
    """Python source that defines `kernel(pointers, extents, scratch, begin, end)`, and the names it refers to.

    A comment at its head shows the native driver that it calls as `contract`, so that equal sources are equal
    kernels.
    """

    source: str
    namespace: Mapping[str, object]
