"""Ops that move elements without changing them: broadcast, reshape, transpose, reverse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Fusion, Op, Value
from compiler.loops import INDEX, Element, Expr, Lowering, literal
from compiler.ops.checks import (
    SYMBOLIC_HINT,
    concrete,
    require_axes,
    require_inputs,
    require_length,
)
from compiler.ops.families import Cotangents, received
from compiler.ops.registry import op
from compiler.types import TensorType, product
from runtime.dimensions import Dim


@op
class Broadcast(Op):
    """Input axis i becomes axis `axes[i]` of `shape`; it has that extent, or 1 and is repeated.

    Axes of the result that no input axis becomes repeat the whole input.
    """

    shape: tuple[Dim, ...]
    axes: tuple[int, ...]

    fusion = Fusion.BROADCAST

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The given shape."""
        require_inputs(self.name, inputs, 1)
        require_length(self.name, "axes", self.axes, inputs[0].rank)
        require_axes(self.name, self.axes, len(self.shape))
        for i, axis in enumerate(self.axes):
            extent = inputs[0].shape[i]
            if extent not in (1, self.shape[axis]):
                symbolic = not (isinstance(extent, int) and isinstance(self.shape[axis], int))
                raise ValueError(
                    f"{self.name}: input axis {i} must have extent 1 or that of result axis {axis}, "
                    f"{self.shape[axis]}. Received: {inputs[0]} into shape {_text(self.shape)}."
                    + SYMBOLIC_HINT
                    * symbolic
                )
        return (inputs[0].with_shape(*self.shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's broadcast_to."""
        aligned = [1] * len(self.shape)
        for i, axis in enumerate(self.axes):
            aligned[axis] = inputs[0].shape[i]
        return (np.broadcast_to(inputs[0].reshape(aligned), concrete(self.shape)).copy(),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The sum over all copies."""
        shape = inputs[0].type.shape
        kept = {axis for i, axis in enumerate(self.axes) if shape[i] == self.shape[axis]}
        summed = tuple(axis for axis in range(len(self.shape)) if axis not in kept)
        return (f.reshape(b, f.reduce_sum(b, received(cotangents), summed), shape),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The element that the index is a copy of."""
        zero = literal(0, INDEX)
        own = types[0].shape
        return inputs[0]([zero if own[i] == 1 else index[axis] for i, axis in enumerate(self.axes)])

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Scalars, new axes at either end and between, repeated axes of extent 1."""
        rng = np.random.default_rng(10)
        yield cls((), ()), (rng.normal(size=()),)
        yield cls((3, 5), ()), (rng.normal(size=()),)
        yield cls((3, 5), (1,)), (rng.normal(size=5),)
        yield cls((3, 5), (0,)), (rng.normal(size=3),)
        yield cls((2, 3, 5), (0, 2)), (rng.normal(size=(2, 5)),)
        yield cls((4, 3, 5), (0, 1, 2)), (rng.normal(size=(4, 1, 5)),)
        yield cls((2, 4, 1), (1, 2)), (rng.normal(size=(1, 1)),)
        yield cls((3, 2), (0,)), (rng.integers(0, 9, 3),)


@op
class Reshape(Op):
    """The same elements in the same order under another shape; takes no time."""

    shape: tuple[Dim, ...]

    fusion = Fusion.ALIAS

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The given shape, of the same size."""
        require_inputs(self.name, inputs, 1)
        result = inputs[0].with_shape(*self.shape)
        if result.size != inputs[0].size:
            symbolic = not (isinstance(result.size, int) and isinstance(inputs[0].size, int))
            raise ValueError(
                f"{self.name}: the number of elements must not change. Received: {inputs[0]} with "
                f"{inputs[0].size} elements into shape {_text(self.shape)} with {result.size}."
                + SYMBOLIC_HINT
                * symbolic
            )
        return (result,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's reshape."""
        return (inputs[0].reshape(concrete(self.shape)),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The cotangent under the input's shape."""
        return (f.reshape(b, received(cotangents), inputs[0].type.shape),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The element with the same position in row-major order, axis group by axis group."""
        position: list[Expr] = []
        shape = types[0].shape
        for own, other in _groups(shape, self.shape):
            position.extend(_regroup(k, shape, own, self.shape, other, index))
        return inputs[0](position)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Merging, splitting, both, extents of 1 anywhere, and no elements."""
        rng = np.random.default_rng(11)
        yield cls((15,)), (rng.normal(size=(3, 5)),)
        yield cls((3, 5)), (rng.normal(size=15),)
        yield cls((2, 1, 15, 1)), (rng.normal(size=(2, 3, 5)),)
        yield cls((5, 6, 7)), (rng.normal(size=(3, 10, 7)),)
        yield cls(()), (rng.normal(size=(1, 1)),)
        yield cls((1,)), (rng.normal(size=()),)
        yield cls((7, 0)), (rng.normal(size=(0, 3)),)
        yield cls((4, 6)), (rng.integers(0, 99, (6, 4)),)


@op
class Transpose(Op):
    """Result axis i is input axis `permutation[i]`."""

    permutation: tuple[int, ...]

    fusion = Fusion.INDEXED

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The extents, permuted."""
        require_inputs(self.name, inputs, 1)
        if sorted(self.permutation) != list(range(inputs[0].rank)):
            raise ValueError(
                f"{self.name}: the permutation must name each of the {inputs[0].rank} axes once. "
                f"Received: permutation={self.permutation} for {inputs[0]}"
            )
        return (inputs[0].with_shape(*(inputs[0].shape[axis] for axis in self.permutation)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's transpose."""
        return (np.ascontiguousarray(inputs[0].transpose(self.permutation)).reshape(self._shape(inputs[0])),)

    def _shape(self, x: Array) -> tuple[int, ...]:
        return tuple(x.shape[axis] for axis in self.permutation)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The inverse permutation."""
        inverse = tuple(self.permutation.index(axis) for axis in range(len(self.permutation)))
        return (f.transpose(b, received(cotangents), inverse),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The element at the inversely permuted index."""
        return inputs[0]([index[self.permutation.index(axis)] for axis in range(len(self.permutation))])

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Several permutations, not all of them their own inverse."""
        rng = np.random.default_rng(12)
        yield cls(()), (rng.normal(size=()),)
        yield cls((1, 0)), (rng.normal(size=(3, 7)),)
        yield cls((2, 0, 1)), (rng.normal(size=(2, 3, 5)),)
        yield cls((0, 2, 1, 3)), (rng.normal(size=(2, 3, 4, 5)),)
        yield cls((1, 0)), (rng.integers(0, 9, (4, 3)),)


@op
class Reverse(Op):
    """The elements in reverse order along each of `axes`."""

    axes: tuple[int, ...]

    fusion = Fusion.INDEXED

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The same type."""
        require_inputs(self.name, inputs, 1)
        require_axes(self.name, self.axes, inputs[0].rank)
        return (inputs[0],)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's flip."""
        return (np.flip(inputs[0], self.axes).copy(),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """Reversed again."""
        return (f.reverse(b, received(cotangents), self.axes),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The element counted from the end."""
        shape = types[0].shape
        return inputs[0]([k.extent(shape[i]) - 1 - at if i in self.axes else at for i, at in enumerate(index)])

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """One axis, several, none."""
        rng = np.random.default_rng(13)
        yield cls((0,)), (rng.normal(size=7),)
        yield cls((0, 2)), (rng.normal(size=(2, 3, 5)),)
        yield cls(()), (rng.normal(size=(3, 2)),)
        yield cls((1,)), (rng.integers(0, 9, (4, 3)),)


def _text(shape: Sequence[Dim]) -> str:
    return f"({', '.join(map(str, shape))})"


def _groups(own: Sequence[Dim], other: Sequence[Dim]) -> Iterator[tuple[range, range]]:
    """Split two shapes of one size into the shortest runs of axes that hold equally many elements."""
    i = j = 0
    while i < len(own) or j < len(other):
        i, j, start = *_shortest_match(own, other, i, j), (i, j)
        yield range(start[0], i), range(start[1], j)


def _shortest_match(own: Sequence[Dim], other: Sequence[Dim], i: int, j: int) -> tuple[int, int]:
    for total in range(1, len(own) - i + len(other) - j + 1):
        for taken in range(max(0, total - (len(other) - j)), min(total, len(own) - i) + 1):
            rest = (tuple(own[i + taken :]), tuple(other[j + total - taken :]))
            heads = (tuple(own[i : i + taken]), tuple(other[j : j + total - taken]))
            # The rests are compared too: where an extent is 0, equal heads alone prove nothing.
            if product(heads[0]) == product(heads[1]) and product(rest[0]) == product(rest[1]):
                return i + taken, j + total - taken
    return len(own), len(other)


def _regroup(
    k: Lowering, own: Sequence[Dim], own_axes: range, other: Sequence[Dim], axes: range, index: Sequence[Expr]
) -> list[Expr]:
    """The index within one group of the input's axes, given the index within the result's."""
    zero = literal(0, INDEX)
    if len(own_axes) == len(axes) == 1:
        return [index[axes[0]]]
    flat: Expr = zero
    for axis in axes:
        flat = flat * k.extent(other[axis]) + index[axis]
    position: list[Expr] = []
    for axis in reversed(own_axes):
        last = axis == own_axes[0]
        position.append(flat if last else flat % k.extent(own[axis]))
        flat = flat if last else flat // k.extent(own[axis])
    return position[::-1]
