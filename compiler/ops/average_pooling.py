"""Pooling by the mean, and its gradient."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compiler.ir import Array, Builder, Op, Value
from compiler.loops import INDEX, Element, Expr, Lowering, cast, literal, select
from compiler.ops.checks import (
    concrete,
    require_inputs,
    require_length,
)
from compiler.ops.families import Cotangents, received
from compiler.ops.pooling import Pooling, reduce_over, sample_cases
from compiler.ops.registry import op
from compiler.ops.spatial import (
    Padding,
    cropped,
    guarded,
    padded,
    tap,
    window_positions,
    windows,
)
from compiler.types import TensorType
from runtime.dimensions import Dim


@op
class AveragePool(Pooling):
    """The mean of the real elements of each window."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """One value a window."""
        require_inputs(self.name, inputs, 1)
        return (self.pooled(inputs[0]),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Sums of windows of the input and of ones, both padded with zeros."""
        x = inputs[0]
        view = windows(padded(x, self.padding, 0), self.size, self.strides, self.ones)
        return ((view.sum(tuple(range(x.ndim, view.ndim))) / _counts(self, x.shape, x.dtype)).astype(x.dtype),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """In equal parts to the elements of each window."""
        of_x = AveragePoolGradient(inputs[0].type.shape[1:-1], *self.attributes)
        return (b.emit(of_x, received(cotangents)),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A loop over the window."""
        batch, *output, channel = index
        dtype = types[0].dtype

        def body(offset: Sequence[Expr]) -> Expr:
            positions, within = window_positions(k, types[0], output, offset, self.strides, self.padding, self.ones)
            return guarded(within, inputs[0]([batch, *positions, channel]), 0)

        total = reduce_over(k, "add", dtype, self.size, body)
        return total / cast(_count(self, k, types[0].shape[1:-1], output), dtype)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Those of the maximum."""
        for attributes, x in sample_cases():
            yield cls(*attributes), (x,)


@op
class AveragePoolGradient(Pooling):
    """Cotangent of the averages -> cotangent of the input."""

    input_spatial: tuple[Dim, ...]
    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The type of the input."""
        require_inputs(self.name, inputs, 1)
        require_length(self.name, "input_spatial", self.input_spatial, inputs[0].rank - 2)
        x = inputs[0].with_shape(inputs[0].shape[0], *self.input_spatial, inputs[0].shape[-1])
        self.require_pooled(x, "the cotangent", inputs[0])
        return (x,)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One scatter for each offset."""
        g, spatial = inputs[0], concrete(self.input_spatial)
        shape = (g.shape[0], *spatial, g.shape[-1])
        share = (g / _counts(self, shape, g.dtype)).astype(g.dtype)
        extents = (e + sum(concrete(pair)) for e, pair in zip(spatial, self.padding, strict=True))
        total = np.zeros((g.shape[0], *extents, g.shape[-1]), g.dtype)
        for offset in itertools.product(*map(range, self.size)):
            tap(total, offset, g.shape[1:-1], self.strides, self.ones)[...] += share
        return (cropped(total, self.padding, spatial),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The average itself: the op is linear."""
        return (b.emit(AveragePool(*self.attributes), received(cotangents)),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A sum over the windows around the element."""
        batch, *at, channel = index
        tries, window = self.covering(k, types[0].shape[1:-1], at)
        dtype = types[0].dtype

        def body(number: Sequence[Expr]) -> Expr:
            output, _, within = window(number)
            count = cast(_count(self, k, self.input_spatial, output), dtype)
            return guarded(within, inputs[0]([batch, *output, channel]) / count, 0)

        return reduce_over(k, "add", dtype, tries, body)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Those of the average."""
        for attributes, x in sample_cases():
            (y,) = AveragePool(*attributes).reference(x)
            yield cls(x.shape[1:-1], *attributes), (y,)


def _count(pooling: Pooling, k: Lowering, spatial: Sequence[Dim], output: Sequence[Expr]) -> Expr:
    """How many real elements a window holds."""
    count: Expr = literal(1, INDEX)
    for axis, extent in enumerate(spatial):
        low, high = pooling.padding[axis]
        start = output[axis] * pooling.strides[axis] - k.extent(low)
        end = start + pooling.size[axis]
        last = k.extent(extent)
        first = select(start > 0, start, literal(0, INDEX)) if low != 0 else start
        count = count * ((select(end < last, end, last) if high != 0 else end) - first)
    return count


def _counts(pooling: Pooling, shape: tuple[int, ...], dtype: Any) -> Array:
    ones = padded(np.ones((1, *shape[1:-1], 1), dtype), pooling.padding, 0)
    view = windows(ones, pooling.size, pooling.strides, pooling.ones)
    return np.asarray(view.sum(tuple(range(len(shape), view.ndim))))
