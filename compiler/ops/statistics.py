"""Means, variances and soft maxima over axes.

float16 inputs are computed in float32 and rounded once, at the end. Gradients are written out where the formula
needs fewer passes over memory than differentiating the decomposition would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Op, Value
from compiler.ops.checks import require_axes, require_dtype, require_inputs
from compiler.ops.families import Composite, Cotangents, received
from compiler.ops.registry import op


class FloatComposite(Composite):
    """One float input."""

    def check(self, inputs: Sequence[Value], axes: Sequence[int]) -> Value:
        """The input; raises TypeError or ValueError unless it is one of floats that has the axes."""
        types = [value.type for value in inputs]
        require_inputs(self.name, types, 1)
        require_dtype(self.name, types[0], "float")
        require_axes(self.name, axes, types[0].rank)
        return inputs[0]


@op
class Mean(FloatComposite):
    """The sum over axes divided by the number of elements; NaN where there are none."""

    axes: tuple[int, ...]

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """A sum and a division."""
        x = self.check(inputs, self.axes)
        total = f.reduce_sum(b, f.widen(b, x), self.axes)
        return (f.cast(b, f.divide(b, total, f.count(b, x, self.axes)), x.type.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's mean."""
        return (np.asarray(inputs[0].mean(self.axes)),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The cotangent divided by the count, repeated."""
        x, g = inputs[0], f.widen(b, received(cotangents))
        share = f.cast(b, f.divide(b, g, f.count(b, x, self.axes)), x.type.dtype)
        return (f.spread(b, share, x.type.shape, self.axes),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """One axis, several, all, none."""
        return _axes_samples(cls)


@op
class Variance(FloatComposite):
    """The mean squared distance from the mean; not corrected for the sample (ddof 0)."""

    axes: tuple[int, ...]

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """See `moments`."""
        x = self.check(inputs, self.axes)
        _, variance = moments(b, f.widen(b, x), self.axes)
        return (f.cast(b, variance, x.type.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's var."""
        return (np.asarray(inputs[0].var(self.axes)),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """2 g (x - mean) / n: the part through the mean cancels."""
        x, g = inputs[0], f.widen(b, received(cotangents))
        factor = f.divide(b, f.multiply(b, g, 2.0), f.count(b, x, self.axes))
        slope = f.multiply(b, _centered(b, f.widen(b, x), self.axes), f.spread(b, factor, x.type.shape, self.axes))
        return (f.cast(b, slope, x.type.dtype),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """One axis, several, all, none; far from zero."""
        yield from _axes_samples(cls)
        yield cls((0,)), (np.random.default_rng(51).normal(1000.0, 1.0, (9, 2)),)


@op
class LogSumExp(FloatComposite):
    """log of the sum of e ** x over axes, without overflow; -infinity where all elements are."""

    axes: tuple[int, ...]

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The maximum is taken out first, unless it is infinite."""
        x = self.check(inputs, self.axes)
        wide = f.widen(b, x)
        highest = f.reduce_max(b, wide, self.axes)
        finite = f.less(b, f.absolute(b, highest), float("inf"))
        shift = f.where(b, finite, highest, 0.0)
        terms = f.exp(b, f.subtract(b, wide, f.spread(b, shift, x.type.shape, self.axes)))
        result = f.add(b, f.log(b, f.reduce_sum(b, terms, self.axes)), shift)
        # An infinite maximum is the result itself; a NaN one has spoilt the sum already.
        result = f.where(b, f.equal(b, highest, float("inf")), highest, result)
        return (f.cast(b, result, x.type.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's logaddexp, folded."""
        with np.errstate(invalid="ignore"):
            return (np.asarray(np.logaddexp.reduce(inputs[0], self.axes)),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g e ** (x - y)."""
        x, y, g = inputs[0], outputs[0], received(cotangents)
        shape = x.type.shape
        weight = f.exp(b, f.subtract(b, x, f.spread(b, y, shape, self.axes)))
        return (f.multiply(b, f.spread(b, g, shape, self.axes), weight),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """One axis, several, all; large values, infinities."""
        yield from _axes_samples(cls)
        yield cls((1,)), (np.array([[700.0, 710.0, 1.0], [-900.0, -905.0, -901.0]]),)
        infinite = np.array([[-np.inf, 1.0], [-np.inf, -np.inf], [np.inf, 1.0]])
        yield cls((1,)), (infinite,)


@op
class Softmax(FloatComposite):
    """e ** x divided by its sum along `axis`, without overflow."""

    axis: int

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The maximum is taken out first."""
        x = self.check(inputs, (self.axis,))
        wide, shape, axes = f.widen(b, x), x.type.shape, (self.axis,)
        terms = f.exp(b, f.subtract(b, wide, f.spread(b, f.reduce_max(b, wide, axes), shape, axes)))
        total = f.spread(b, f.reduce_sum(b, terms, axes), shape, axes)
        return (f.cast(b, f.divide(b, terms, total), x.type.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        terms = np.exp(inputs[0] - inputs[0].max(self.axis, keepdims=True))
        return (terms / terms.sum(self.axis, keepdims=True),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """y (g - sum of g y)."""
        y, g = f.widen(b, outputs[0]), f.widen(b, received(cotangents))
        total = f.reduce_sum(b, f.multiply(b, g, y), (self.axis,))
        slope = f.multiply(b, y, f.subtract(b, g, f.spread(b, total, y.type.shape, (self.axis,))))
        return (f.cast(b, slope, inputs[0].type.dtype),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Each axis; large values."""
        return _axis_samples(cls)


@op
class LogSoftmax(FloatComposite):
    """The logarithm of the softmax along `axis`, exact where the softmax would be 0."""

    axis: int

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The maximum is taken out first."""
        x = self.check(inputs, (self.axis,))
        wide, shape, axes = f.widen(b, x), x.type.shape, (self.axis,)
        shifted = f.subtract(b, wide, f.spread(b, f.reduce_max(b, wide, axes), shape, axes))
        log = f.log(b, f.reduce_sum(b, f.exp(b, shifted), axes))
        return (f.cast(b, f.subtract(b, shifted, f.spread(b, log, shape, axes)), x.type.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (inputs[0] - np.logaddexp.reduce(inputs[0], self.axis, keepdims=True),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g - e ** y times the sum of g."""
        y, g = f.widen(b, outputs[0]), f.widen(b, received(cotangents))
        total = f.spread(b, f.reduce_sum(b, g, (self.axis,)), y.type.shape, (self.axis,))
        slope = f.subtract(b, g, f.multiply(b, f.exp(b, y), total))
        return (f.cast(b, slope, inputs[0].type.dtype),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Each axis; large values."""
        return _axis_samples(cls)


def moments(b: Builder, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """Mean and biased variance over axes, in x's dtype, never as a difference of squares.

    Over images (the batch and more axes, channels last) each image is read once: its own mean and the squared
    distances from that, then merged,

        n var = sum over i of (squared distances in image i  +  h w (mean of image i - mean) ** 2),

    the pairwise rule of Chan, Golub and LeVeque (Algorithms for computing the sample variance, 1983); its terms are
    never negative, so that nothing cancels. Otherwise by two passes.
    """
    mean = f.mean(b, x, axes)
    inner = tuple(axis for axis in axes if axis > 0)
    if 0 not in axes or not inner or x.type.rank - 1 in axes:
        return mean, f.mean(b, f.square(b, _centered(b, x, axes)), axes)
    own = f.mean(b, x, inner)
    within = f.reduce_sum(b, f.square(b, f.subtract(b, x, f.spread(b, own, x.type.shape, inner))), inner)
    between = f.square(b, f.subtract(b, own, f.spread(b, mean, own.type.shape, (0,))))
    total = f.add(b, f.reduce_sum(b, within, 0), f.multiply(b, f.reduce_sum(b, between, 0), f.count(b, x, inner)))
    return mean, f.divide(b, total, f.count(b, x, axes))


def _centered(b: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    return f.subtract(b, x, f.spread(b, f.mean(b, x, axes), x.type.shape, axes))


def _axes_samples(cls: Any) -> Iterator[tuple[Op, tuple[Array, ...]]]:
    rng = np.random.default_rng(50)
    yield cls((0,)), (rng.normal(size=7),)
    yield cls((1,)), (rng.normal(size=(3, 5)),)
    yield cls((0, 1)), (rng.normal(size=(3, 4, 2)),)
    yield cls((0, 1, 2)), (rng.normal(size=(2, 3, 4)),)
    yield cls((0,)), (rng.normal(size=(17, 3)),)
    yield cls((0, 1, 2)), (rng.normal(size=(3, 5, 7, 2)),)
    yield cls((0, 2)), (rng.normal(size=(3, 2, 7, 2)),)


def _axis_samples(cls: Any) -> Iterator[tuple[Op, tuple[Array, ...]]]:
    rng = np.random.default_rng(52)
    yield cls(0), (rng.normal(size=9),)
    yield cls(1), (rng.normal(size=(3, 10)),)
    yield cls(0), (rng.normal(size=(4, 3)),)
    yield cls(1), (rng.normal(size=(2, 3, 4)),)
    yield cls(1), (np.array([[800.0, 801.0, 799.5], [-800.0, -801.0, -900.0]]),)
