"""What pooling ops share: windows over one to three spatial axes of [batch, *spatial, channels].

Padding never takes part: a maximum ignores it and an average divides by the number of real elements, as Keras
does. Every window holds at least one real element, since padding is smaller than the window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from compiler.ir import Array, Fusion, Op
from compiler.loops import INDEX, Expr, Lowering, literal
from compiler.ops.checks import (
    require_dtype,
    require_equal_extents,
    require_length,
    require_rank,
)
from compiler.ops.spatial import (
    Padding,
    all_of,
    clamp,
    inside,
    output_extents,
    require_spatial,
)
from compiler.types import TensorType
from runtime.dimensions import Dim

MOST_TILE = 16  # elements of a window's block that are worth code of their own


class Pooling(Op):
    """What the five ops share: the attributes and how windows fall on the input."""

    fusion = Fusion.WINDOW
    accepts: ClassVar[str] = "float"
    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding

    @property
    def attributes(self) -> tuple[tuple[int, ...], tuple[int, ...], Padding]:
        """What two pooling ops over the same windows have in common."""
        return self.size, self.strides, self.padding

    @property
    def ones(self) -> tuple[int, ...]:
        """The dilation."""
        return (1,) * len(self.size)

    @property
    def tile(self) -> tuple[int, ...] | None:
        """Extents of the blocks of the input that belong to one window each; None where windows share elements."""
        apart = all(size <= stride for size, stride in zip(self.size, self.strides, strict=True))
        unpadded = all(amount == 0 for pair in self.padding for amount in pair)
        return self.strides if apart and unpadded and math.prod(self.strides) <= MOST_TILE else None

    def pooled(self, x: TensorType) -> TensorType:
        """The type of one value for each window."""
        require_dtype(self.name, x, self.accepts)
        require_rank(self.name, x, 3, at_least=True)
        require_spatial(self.name, x.rank - 2, self.strides, self.padding)
        require_length(self.name, "size", self.size, x.rank - 2)
        for axis, (extent, pair) in enumerate(zip(self.size, self.padding, strict=True)):
            if extent < 1 or any(isinstance(amount, int) and amount >= extent for amount in pair):
                raise ValueError(
                    f"{self.name}: the window must be positive and larger than the padding, so that it never "
                    f"lies outside. Received: size {extent} and padding {pair} on spatial axis {axis}"
                )
        spatial = output_extents(self.name, x.shape[1:-1], self.size, self.strides, self.padding, self.ones)
        return x.with_shape(x.shape[0], *spatial, x.shape[-1])

    def require_pooled(self, x: TensorType, what: str, actual: TensorType) -> None:
        """Raise unless a tensor has the type of the pooled input."""
        expected = self.pooled(x)
        require_rank(self.name, actual, x.rank, what)
        for axis, (extent, wanted) in enumerate(zip(actual.shape, expected.shape, strict=True)):
            require_equal_extents(self.name, f"axis {axis} of {what} and of the pooled input", extent, wanted)
        if actual.dtype != x.dtype:
            raise TypeError(f"{self.name}: {what} must have dtype {x.dtype}. Received: {actual}")

    def covering(self, k: Lowering, outputs: Sequence[Dim], at: Sequence[Expr]) -> tuple[list[int], Any]:
        """The windows that hold an input element.

        Returns how many to try on each axis, and the function that gives for the numbers of a try the window
        (moved into range), the element's offset in it, and whether the element is in it at all.
        """
        tries = [-(-size // stride) for size, stride in zip(self.size, self.strides, strict=True)]
        reached = [k.let(at[i] + k.extent(pair[0])) for i, pair in enumerate(self.padding)]

        def window(number: Sequence[Expr]) -> tuple[list[Expr], list[Expr], Expr | None]:
            places, offsets, tests = [], [], []
            for axis, extent in enumerate(outputs):
                stride, size = self.strides[axis], self.size[axis]
                quotient, remainder = k.split(reached[axis], stride)
                place = quotient - number[axis]
                offsets.append(remainder + number[axis] * stride)
                tests.append(inside(k, place, extent))
                if tries[axis] * stride > size:
                    tests.append(offsets[axis] < size)
                places.append(clamp(k, place, extent))
            return places, offsets, all_of(tests)

        return tries, window


def reduce_over(k: Lowering, combine: str, dtype: str, extents: Sequence[int], body: Any) -> Expr:
    """`k.reduce` without loops of one turn."""
    zero, long = literal(0, INDEX), [extent for extent in extents if extent != 1]
    if not long:
        return body([zero] * len(extents))  # type: ignore[no-any-return]

    def full(indices: tuple[Expr, ...]) -> Expr:
        left = iter(indices)
        return body([zero if extent == 1 else next(left) for extent in extents])  # type: ignore[no-any-return]

    return k.reduce(combine, dtype, long, full)


def sample_cases() -> Iterator[tuple[tuple[tuple[int, ...], tuple[int, ...], Padding], Array]]:
    """Attributes and input: all spatial ranks; windows that overlap, touch, leave gaps; padding."""
    rng = np.random.default_rng(32)
    yield ((2,), (2,), ((0, 0),)), rng.normal(size=(2, 6, 3))
    yield ((3,), (2,), ((1, 0),)), rng.normal(size=(1, 7, 2))
    yield ((2, 2), (2, 2), ((0, 0), (0, 0))), rng.normal(size=(2, 5, 4, 2))
    yield ((3, 2), (1, 1), ((1, 1), (0, 1))), rng.normal(size=(1, 4, 5, 2))
    yield ((3, 3), (2, 2), ((0, 1), (1, 1))), rng.normal(size=(2, 6, 5, 1))
    yield ((1, 2), (3, 3), ((0, 0), (0, 0))), rng.normal(size=(1, 7, 8, 2))
    yield ((2, 2, 2), (2, 1, 2), ((0, 1), (1, 0), (0, 0))), rng.normal(size=(1, 3, 3, 4, 2))
