"""The standard normal distribution and its density, each at every element."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Value
from compiler.loops import Expr, call
from compiler.ops.families import Cotangents, Elementwise, received
from compiler.ops.registry import op


@op
class NormalDistribution(Elementwise):
    """The share of a standard normal distribution below x: (1 + erf(x / sqrt(2))) / 2, without cancellation."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("normal_distribution", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """By the C library's complementary error function."""
        (x,) = inputs
        share = np.vectorize(lambda value: math.erfc(-value * math.sqrt(0.5)) / 2, otypes=["float64"])(x)
        return (np.asarray(share).astype(x.dtype),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g times the density."""
        return (f.multiply(b, received(cotangents), f.normal_density(b, inputs[0])),)


@op
class NormalDensity(Elementwise):
    """exp(-x x / 2) / sqrt(2 pi)."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("normal_density", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        x = inputs[0].astype("float64")
        return (np.asarray(np.exp(-x * x / 2) / math.sqrt(2 * math.pi)).astype(inputs[0].dtype),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """-g x y."""
        return (f.negative(b, f.multiply(b, received(cotangents), f.multiply(b, inputs[0], outputs[0]))),)
