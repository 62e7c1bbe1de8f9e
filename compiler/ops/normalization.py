"""Batch and layer normalisation.

Statistics are computed in float32 at least, from distances to a mean, and are those Keras uses: the biased variance,
epsilon inside the root. The gradients are the textbook ones, which need a single pass of sums over the input and its
cotangent (Ioffe and Szegedy, Batch Normalization, 2015; Ba et al., Layer Normalization, 2016).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Op, Value
from compiler.ops.checks import require_axes, require_dtype, require_inputs
from compiler.ops.families import Composite, Cotangents, Derived, received
from compiler.ops.registry import op
from compiler.ops.statistics import moments
from compiler.types import TensorType


@op
class BatchNormalization(Composite):
    """(x, gamma, beta) -> (y, mean, biased variance) with the statistics of this batch, for training.

    Statistics run over all axes but `axis`; gamma, beta and the statistics are vectors along that one.
    """

    axis: int
    epsilon: float = 1e-3

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """gamma (x - mean) / sqrt(variance + epsilon) + beta."""
        _check_vectors(self.name, inputs, ("gamma", "beta"), self.axis)
        x, gamma, beta = inputs
        wide = f.widen(b, x)
        axes = _all_but(self.axis, x.type.rank)
        mean, variance = moments(b, wide, axes)
        y = _normalized(b, wide, (mean, variance, gamma, beta), self.axis, self.epsilon)
        statistics = (f.cast(b, value, gamma.type.dtype) for value in (mean, variance))
        return (f.cast(b, y, x.type.dtype), *statistics)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        x, gamma, beta = inputs
        axes = _all_but(self.axis, x.ndim)
        mean, variance = x.mean(axes), x.var(axes)
        y = _normalized_reference(x, (mean, variance, gamma, beta), self.axis, self.epsilon)
        return y, mean.astype(gamma.dtype), variance.astype(gamma.dtype)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """Through y: gamma / s (g - sum(g) / n - z sum(g z) / n), where s is the deviation and z = (x - mean) / s.

        Written as a g + b (x - mean) + c with vectors a, b and c, so that one pass over g and x gives both sums, and
        one more the slope. A cotangent of the mean adds 1 / n of itself to c, one of the variance 2 / n to b.
        """
        x, gamma, beta = inputs
        wide, axes = f.widen(b, x), _all_but(self.axis, x.type.rank)
        count = f.count(b, x, axes)
        gamma, mean, variance = (f.cast(b, v, wide.type.dtype) for v in (gamma, *outputs[1:]))

        def spread(value: Value) -> Value:
            return f.spread(b, value, x.type.shape, axes)

        centered = f.subtract(b, wide, spread(mean))
        along: list[Value] = []
        constant: list[Value] = []
        of_x = of_gamma = of_beta = None
        if cotangents[0] is not None:
            g = f.widen(b, cotangents[0])
            inverse = f.rsqrt(b, f.add(b, variance, self.epsilon))
            of_beta = f.reduce_sum(b, g, axes)
            of_gamma = f.multiply(b, f.reduce_sum(b, f.multiply(b, g, centered), axes), inverse)
            factor = f.multiply(b, gamma, inverse)
            of_x = f.multiply(b, g, spread(factor))
            share = f.negative(b, f.divide(b, factor, count))
            along.append(f.multiply(b, f.multiply(b, share, inverse), of_gamma))
            constant.append(f.multiply(b, share, of_beta))
        if cotangents[1] is not None:
            constant.append(f.divide(b, f.cast(b, cotangents[1], wide.type.dtype), count))
        if cotangents[2] is not None:
            of_variance = f.multiply(b, f.cast(b, cotangents[2], wide.type.dtype), 2.0)
            along.append(f.divide(b, of_variance, count))
        if along:
            term = f.multiply(b, centered, spread(functools.reduce(functools.partial(f.add, b), along)))
            of_x = term if of_x is None else f.add(b, of_x, term)
        if constant:
            term = spread(functools.reduce(functools.partial(f.add, b), constant))
            of_x = term if of_x is None else f.add(b, of_x, term)
        return (
            None if of_x is None else f.cast(b, of_x, x.type.dtype),
            None if of_gamma is None else f.cast(b, of_gamma, inputs[1].type.dtype),
            None if of_beta is None else f.cast(b, of_beta, beta.type.dtype),
        )

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Features last and first, dense and image inputs."""
        rng = np.random.default_rng(70)
        for axis, shape in ((1, (7, 3)), (3, (2, 3, 4, 5)), (1, (3, 4, 5)), (0, (2, 6))):
            vectors = (rng.normal(size=shape[axis]) for _ in range(2))
            yield cls(axis, 1e-3), (rng.normal(0.5, 2.0, shape), *vectors)


@op
class NormalizeWith(Derived):
    """(x, mean, variance, gamma, beta) -> y with given statistics, for inference."""

    axis: int
    epsilon: float = 1e-3

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """x scale + shift, as Keras computes it: one multiply-add an element; the vectors do not depend on x."""
        _check_vectors(self.name, inputs, ("mean", "variance", "gamma", "beta"), self.axis)
        x = f.widen(b, inputs[0])
        mean, variance, gamma, beta = (f.cast(b, vector, x.type.dtype) for vector in inputs[1:])
        scale = _scale(b, gamma, variance, self.epsilon)
        shift = f.subtract(b, beta, f.multiply(b, mean, scale))
        scale, shift = (f.broadcast_in(b, v, x.type.shape, (self.axis,)) for v in (scale, shift))
        return (f.cast(b, f.add(b, f.multiply(b, x, scale), shift), inputs[0].type.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (_normalized_reference(inputs[0], inputs[1:], self.axis, self.epsilon),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Features last and first."""
        rng = np.random.default_rng(71)
        for axis, shape in ((1, (7, 3)), (3, (2, 3, 2, 5)), (1, (3, 4, 5))):
            mean, gamma, beta = (rng.normal(size=shape[axis]) for _ in range(3))
            yield cls(axis, 1e-2), (rng.normal(size=shape), mean, rng.uniform(0.5, 2, shape[axis]), gamma, beta)


@op
class LayerNormalization(Composite):
    """(x, gamma, beta) -> y with the statistics of each sample over `axes`; gamma and beta have those axes."""

    axes: tuple[int, ...]
    epsilon: float = 1e-3

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """gamma (x - mean) / sqrt(variance + epsilon) + beta."""
        self._check([value.type for value in inputs])
        x, gamma, beta = inputs
        z, _ = self._standardized(b, x)
        gamma, beta = (self._along(b, value, z) for value in (gamma, beta))
        return (f.cast(b, f.add(b, f.multiply(b, z, gamma), beta), x.type.dtype),)

    def _check(self, types: Sequence[TensorType]) -> None:
        require_inputs(self.name, types, 3)
        x, gamma, beta = types
        require_axes(self.name, self.axes, x.rank)
        expected = tuple(x.shape[axis] for axis in self.axes)
        for what, type_ in (("x", x), ("gamma", gamma), ("beta", beta)):
            require_dtype(self.name, type_, "float", what)
            if what != "x" and type_.shape != expected:
                raise ValueError(
                    f"{self.name}: {what} must have the shape of axes {self.axes} of x {x}, "
                    f"({', '.join(map(str, expected))}). Received: {type_}"
                )

    def _standardized(self, b: Builder, x: Value) -> tuple[Value, Value]:
        """(x - mean) / deviation, and 1 / deviation repeated."""
        wide, shape = f.widen(b, x), x.type.shape
        mean = f.spread(b, f.mean(b, wide, self.axes), shape, self.axes)
        variance = f.variance(b, wide, self.axes)
        inverse = f.spread(b, f.rsqrt(b, f.add(b, variance, self.epsilon)), shape, self.axes)
        return f.multiply(b, f.subtract(b, wide, mean), inverse), inverse

    def _along(self, b: Builder, value: Value, like: Value) -> Value:
        return f.broadcast_in(b, f.cast(b, value, like.type.dtype), like.type.shape, self.axes)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        x, gamma, beta = inputs
        shape = [extent if axis in self.axes else 1 for axis, extent in enumerate(x.shape)]
        deviation = np.sqrt(x.var(self.axes, keepdims=True) + x.dtype.type(self.epsilon))
        z = (x - x.mean(self.axes, keepdims=True)) / deviation
        return ((z * gamma.reshape(shape) + beta.reshape(shape)).astype(x.dtype),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """(h - mean(h) - z mean(h z)) / s with h = gamma g, s the deviation and z = (x - mean) / s."""
        x, gamma, beta = inputs
        g = f.widen(b, received(cotangents))
        z, inverse = self._standardized(b, x)
        h = f.multiply(b, g, self._along(b, gamma, z))

        def mean(value: Value) -> Value:
            return f.spread(b, f.mean(b, value, self.axes), x.type.shape, self.axes)

        along = f.multiply(b, z, mean(f.multiply(b, h, z)))
        of_x = f.multiply(b, f.subtract(b, f.subtract(b, h, mean(h)), along), inverse)
        batch = tuple(axis for axis in range(x.type.rank) if axis not in self.axes)
        of_gamma = f.reduce_sum(b, f.multiply(b, g, z), batch)
        return (
            f.cast(b, of_x, x.type.dtype),
            f.cast(b, of_gamma, gamma.type.dtype),
            f.cast(b, f.reduce_sum(b, g, batch), beta.type.dtype),
        )

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """The last axis, several, one in the middle."""
        rng = np.random.default_rng(72)
        for axes, shape in (((1,), (4, 7)), ((1, 2), (3, 4, 5)), ((1,), (2, 6, 3)), ((2,), (2, 3, 8))):
            own = [shape[axis] for axis in axes]
            yield cls(axes, 1e-3), (rng.normal(0.5, 2.0, shape), rng.normal(size=own), rng.normal(size=own))


def _all_but(axis: int, rank: int) -> tuple[int, ...]:
    return tuple(i for i in range(rank) if i != axis)


def _check_vectors(op_name: str, inputs: Sequence[Value], names: Sequence[str], axis: int) -> None:
    types = [value.type for value in inputs]
    require_inputs(op_name, types, 1 + len(names))
    require_dtype(op_name, types[0], "float", "x")
    require_axes(op_name, (axis,), types[0].rank)
    for what, type_ in zip(names, types[1:], strict=True):
        require_dtype(op_name, type_, "float", what)
        if type_.shape != (types[0].shape[axis],):
            raise ValueError(
                f"{op_name}: {what} must be a vector along axis {axis} of x {types[0]}, of extent "
                f"{types[0].shape[axis]}. Received: {type_}"
            )


def _normalized(b: Builder, x: Value, vectors: Sequence[Value], axis: int, epsilon: float) -> Value:
    mean, variance, gamma, beta = (f.cast(b, vector, x.type.dtype) for vector in vectors)
    scale = _scale(b, gamma, variance, epsilon)
    mean, scale, beta = (f.broadcast_in(b, v, x.type.shape, (axis,)) for v in (mean, scale, beta))
    return f.add(b, f.multiply(b, f.subtract(b, x, mean), scale), beta)


def _scale(b: Builder, gamma: Value, variance: Value, epsilon: float) -> Value:
    """gamma / sqrt(variance + epsilon)."""
    return f.multiply(b, gamma, f.rsqrt(b, f.add(b, variance, epsilon)))


def _normalized_reference(x: Array, vectors: Sequence[Array], axis: int, epsilon: float) -> Array:
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    mean, variance, gamma, beta = (vector.reshape(shape) for vector in vectors)
    return np.asarray(gamma * (x - mean) / np.sqrt(variance + x.dtype.type(epsilon)) + beta).astype(x.dtype)
