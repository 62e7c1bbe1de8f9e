"""What a generator of contractions takes and gives beside a specification and a geometry, and what each one offers."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, Geometry
from runtime.dimensions import Dim

__all__ = ["ContractionSource", "Epilogue", "Generator", "ImageTail", "ImageUnits"]


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


AnyGeometry = TypeVar("AnyGeometry", bound=Geometry)
FORMS = ("transpose_a", "transpose_b", "narrow", "packed", "direct")


class Generator(abc.ABC, Generic[AnyGeometry]):
    """One kind of contraction: the sizes and the source of its kernels. `compiler.codegen.contraction` lists them all.

    `geometry`: the class of its geometries. `extent_count`: how many extents its kernels read; methods get just these.
    `forms`: which flags of a specification may be set together; no others may. A `tile` is the target's.
    """

    geometry: type[AnyGeometry]
    extent_count: ClassVar[int]
    forms: ClassVar[tuple[frozenset[str], ...]] = ()

    def check(self, spec: ContractionSpec) -> None:
        """Raise `ValueError` where the kind has no such form."""
        asked = {name for name in FORMS if getattr(spec, name)}
        if asked and not any(asked <= form for form in self.forms):
            raise ValueError(f"there is no form of {spec.kind} that is {' and '.join(sorted(asked))}: {spec}")

    def is_narrow(self, spec: ContractionSpec, geometry: AnyGeometry, tile: Tile) -> bool:
        """Whether the narrow form suits the geometry better than a tile."""
        return False

    def fills(self, spec: ContractionSpec, geometry: AnyGeometry) -> bool:
        """Whether a call that begins anew packs an operand, or each reads all images, whatever items it computes."""
        return True

    def keeps(self, spec: ContractionSpec, geometry: AnyGeometry) -> bool:
        """Whether a call may go on with what the thread's last one left in private memory, where that one ended."""
        return True

    @abc.abstractmethod
    def extents(self, spec: ContractionSpec, geometry: AnyGeometry, *, whole: bool = False) -> tuple[Dim, ...]:
        """The run-time extents, in the order in which the source reads them; `whole` as in `contraction_extents`."""

    @abc.abstractmethod
    def work(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """The number of work items."""

    def image_units(self, spec: ContractionSpec, extents: tuple[Dim, ...], items: Dim) -> ImageUnits:
        """How so many work items make up images; `ValueError` where they do not."""
        raise ValueError(f"the {items} work items of a {spec.kind} do not make up images")

    @abc.abstractmethod
    def scratch(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Bytes of scratch that one thread needs, aligned to 64."""

    @abc.abstractmethod
    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """Source of the kernel, with the epilogue in its innermost loop."""
