"""Pooling by the greatest element, and its gradients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compiler.ir import Array, Builder, Op, Value
from compiler.loops import INDEX, Element, Expr, Literal, Lowering, call, literal, select
from compiler.ops.checks import (
    concrete,
    require_inputs,
)
from compiler.ops.families import Cotangents, received
from compiler.ops.pooling import Pooling, reduce_over, sample_cases
from compiler.ops.reduce import lowest
from compiler.ops.registry import op
from compiler.ops.spatial import (
    Padding,
    all_of,
    clamp,
    cropped,
    guarded,
    padded,
    tap,
    window_positions,
    windows,
)
from compiler.types import TensorType, is_float

FLAG = "int32"  # of four bytes, so that it moves through vector registers beside float32


@op
class MaxPool(Pooling):
    """The greatest element of each window; NaN if it holds one."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding

    accepts = "number"

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """One value a window."""
        require_inputs(self.name, inputs, 1)
        return (self.pooled(inputs[0]),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Padded with the lowest value."""
        x = inputs[0]
        view = windows(padded(x, self.padding, lowest(x.dtype.name)), self.size, self.strides, self.ones)
        return (view.max(tuple(range(x.ndim, view.ndim))),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """To the first greatest element of each window."""
        if not is_float(inputs[0].type.dtype):
            return (None,)
        g = received(cotangents)
        return (b.emit(MaxPoolGradient(*self.attributes), inputs[0], outputs[0], g),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A loop over the window."""
        batch, *output, channel = index
        dtype = types[0].dtype

        def body(offset: Sequence[Expr]) -> Expr:
            positions, within = window_positions(k, types[0], output, offset, self.strides, self.padding, self.ones)
            return guarded(within, inputs[0]([batch, *positions, channel]), lowest(dtype))

        return reduce_over(k, "maximum", dtype, self.size, body)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """All spatial ranks, overlapping and separate windows, gaps, padding; integers."""
        for attributes, x in sample_cases():
            yield cls(*attributes), (x,)
        ints = np.random.default_rng(31).integers(-9, 9, (1, 5, 2))
        yield cls((2,), (2,), ((0, 1),)), (ints,)


@op
class MaxPoolGradient(Pooling):
    """(x, pooled x, cotangent of it) -> cotangent of x.

    The first element in row-major order that equals a window's maximum gets that window's whole cotangent, as
    in XLA's select-and-scatter with >=; where the maximum is NaN that is the first NaN.
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The type of x."""
        require_inputs(self.name, inputs, 3)
        self.require_pooled(inputs[0], "the pooled values", inputs[1])
        self.require_pooled(inputs[0], "the cotangent", inputs[2])
        return (inputs[0],)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The winner of each window by argmax, then one scatter for each offset."""
        x, y, g = inputs
        winner = _first_winner(self, x, y)
        extents = (e + sum(concrete(pair)) for e, pair in zip(x.shape[1:-1], self.padding, strict=True))
        total = np.zeros((x.shape[0], *extents, x.shape[-1]), x.dtype)
        for number, offset in enumerate(itertools.product(*map(range, self.size))):
            tap(total, offset, y.shape[1:-1], self.strides, self.ones)[...] += np.where(winner == number, g, 0)
        return (cropped(total, self.padding, x.shape[1:-1]),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """Linear in the cotangent, piecewise constant in x and its maxima."""
        of_g = b.emit(MaxPoolSelect(*self.attributes), inputs[0], inputs[1], received(cotangents))
        return None, None, of_g

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """For each window around the element: is it the maximum, and did none before it equal that?"""
        x, y, g = inputs
        batch, *at, channel = index
        tries, window = self.covering(k, types[1].shape[1:-1], at)

        def body(number: Sequence[Expr]) -> Expr:
            output, offset, within = window(number)
            place = [batch, *output, channel]
            best = k.let(y(place))
            if self.tile is not None and all(isinstance(part, Literal) for part in offset):
                wins = _wins_at(self, k, x, place, best, offset)
            else:
                earlier = _earlier_winner(self, k, x, types[0], place, best, k.let(_rank(offset, self.size)))
                wins = _matches(x(index), best) & earlier.equals(0)
            return guarded(all_of([within, wins]), g(place), 0)

        return reduce_over(k, "add", types[0].dtype, tries, body)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Those of the maximum, and ties and NaN."""
        yield from _samples(cls, lambda x, y: y)


@op
class MaxPoolSelect(Pooling):
    """(x, pooled x, values like x) -> the value at each window's first maximum.

    As a function of the values this is MaxPoolGradient transposed.
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """One value a window."""
        require_inputs(self.name, inputs, 3)
        self.require_pooled(inputs[0], "the pooled values", inputs[1])
        if inputs[2] != inputs[0]:
            raise ValueError(f"{self.name}: the values must have the type of x, {inputs[0]}. Received: {inputs[2]}")
        return (inputs[1],)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The winner of each window by argmax."""
        x, y, values = inputs
        view = windows(padded(values, self.padding, 0), self.size, self.strides, self.ones)
        flat = view.reshape(*y.shape, -1)
        return (np.take_along_axis(flat, _first_winner(self, x, y)[..., None], -1)[..., 0],)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """Linear in the values, piecewise constant in x and its maxima."""
        of_values = b.emit(MaxPoolGradient(*self.attributes), inputs[0], inputs[1], received(cotangents))
        return None, None, of_values

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The position of the first winner, then one read."""
        x, y, values = inputs
        batch, *output, channel = index
        best = k.let(y(index))
        count = int(np.prod(self.size))

        def candidate(offset: Sequence[Expr]) -> Expr:
            positions, within = window_positions(k, types[0], output, offset, self.strides, self.padding, self.ones)
            wins = all_of([within, _matches(x([batch, *positions, channel]), best)])
            last = literal(count - 1, INDEX)
            return last if wins is None else select(wins, _rank(offset, self.size), last)

        rank = k.let(reduce_over(k, "minimum", INDEX, self.size, candidate))
        offset: list[Expr] = []
        for size in reversed(self.size):
            offset.insert(0, rank % size)
            rank = rank // size
        positions = []
        for axis, extent in enumerate(types[0].shape[1:-1]):
            start = output[axis] * self.strides[axis] - k.extent(self.padding[axis][0])
            positions.append(clamp(k, start + offset[axis], extent))
        return values([batch, *positions, channel])

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Those of the maximum, and ties and NaN."""
        yield from _samples(cls, lambda x, y: x)


def _matches(value: Expr, best: Expr) -> Expr:
    """Whether a value is a window's maximum; NaN counts as equal to NaN."""
    return value.equals(best) | (call("is_nan", value) & call("is_nan", best))


def _rank(offset: Sequence[Expr], size: Sequence[int]) -> Expr:
    rank: Expr = literal(0, INDEX)
    for extent, part in zip(size, offset, strict=True):
        rank = rank * extent + part
    return rank


def _earlier_winner(
    pooling: Pooling,
    k: Lowering,
    x: Element,
    type_: TensorType,
    place: Sequence[Expr],
    best: Expr,
    rank: Expr,
) -> Expr:
    """1 if an element of the window before `rank` is its maximum too, else 0."""
    batch, *output, channel = place

    def body(offset: Sequence[Expr]) -> Expr:
        positions, within = window_positions(k, type_, output, offset, pooling.strides, pooling.padding, pooling.ones)
        value = x([batch, *positions, channel])
        test = all_of([within, _rank(offset, pooling.size) < rank, _matches(value, best)])
        return guarded(test, literal(1, FLAG), 0)

    return reduce_over(k, "maximum", FLAG, pooling.size, body)


def _wins_at(
    pooling: Pooling, k: Lowering, x: Element, place: Sequence[Expr], best: Expr, offset: Sequence[Expr]
) -> Expr:
    """Whether the element at a known offset of a window without padding is its first maximum.

    Written out, so that the elements of a window share its comparisons.
    """
    batch, *output, channel = place
    earlier: Expr | None = None
    for number in itertools.product(*map(range, pooling.size)):
        steps = zip(output, pooling.strides, number, strict=True)
        positions = [at * stride + part for at, stride, part in steps]
        match = k.let(_matches(x([batch, *positions, channel]), best))
        if number == tuple(part.value for part in offset if isinstance(part, Literal)):
            return match if earlier is None else match & call("logical_not", earlier)
        earlier = match if earlier is None else k.let(earlier | match)
    return literal(0, "bool")  # in the gap behind the window


def _first_winner(pooling: Pooling, x: Array, y: Array) -> Array:
    """The row-major position in its window of the first real element that is the maximum."""
    args = (pooling.size, pooling.strides, pooling.ones)
    view = windows(padded(x, pooling.padding, 0), *args).reshape(*y.shape, -1)
    real = windows(padded(np.ones_like(x), pooling.padding, 0), *args).reshape(*y.shape, -1)
    wins = (view == y[..., None]) | (np.isnan(view) & np.isnan(y[..., None]))
    return np.asarray((wins & (real == 1)).argmax(-1))


def _samples(cls: Any, third: Any) -> Iterator[tuple[Op, tuple[Array, ...]]]:
    rng = np.random.default_rng(33)
    ties = rng.integers(0, 2, (1, 4, 5, 2)).astype("float64")
    special = np.array([-np.inf, -np.inf, 1.0, np.nan, np.nan, 2.0]).reshape(1, 6, 1)
    cases = [*sample_cases()]
    cases.append((((2, 2), (1, 1), ((1, 0), (0, 1))), ties))
    cases.append((((2,), (2,), ((1, 1),)), special))
    for attributes, x in cases:
        (y,) = MaxPool(*attributes).reference(x)
        yield cls(*attributes), (x, y, rng.normal(size=third(x, y).shape))
