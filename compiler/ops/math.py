"""Unary functions, applied to each element.

Derivatives are written with the result where that is possible: then the input need not be kept for the
backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Value
from compiler.loops import Expr, call, literal
from compiler.ops.families import Cotangents, Elementwise, received
from compiler.ops.registry import op


@op
class Negative(Elementwise):
    """-x."""

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return -x[0]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.negative(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """-g."""
        return (f.negative(b, received(cotangents)),)


@op
class Absolute(Elementwise):
    """|x|; the gradient at 0 is 0."""

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("absolute", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.abs(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g sign(x)."""
        return (f.multiply(b, received(cotangents), f.sign(b, inputs[0])),)


@op
class Exp(Elementwise):
    """e ** x."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("exp", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        with np.errstate(over="ignore"):
            return (np.exp(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g y."""
        return (f.multiply(b, received(cotangents), outputs[0]),)


@op
class Expm1(Elementwise):
    """e ** x - 1, accurate near 0."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("expm1", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        with np.errstate(over="ignore"):
            return (np.expm1(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g (y + 1)."""
        return (f.multiply(b, received(cotangents), f.add(b, outputs[0], 1.0)),)


@op
class Log(Elementwise):
    """Natural logarithm; -infinity at 0, NaN below."""

    accepts = "float"
    domain = (0.2, 4.0)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("log", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.log(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g / x."""
        return (f.divide(b, received(cotangents), inputs[0]),)


@op
class Log1p(Elementwise):
    """log(1 + x), accurate near 0."""

    accepts = "float"
    domain = (-0.8, 4.0)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("log1p", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.log1p(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g / (1 + x)."""
        return (f.divide(b, received(cotangents), f.add(b, inputs[0], 1.0)),)


@op
class Sqrt(Elementwise):
    """Square root; NaN below 0."""

    accepts = "float"
    domain = (0.2, 4.0)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("sqrt", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.sqrt(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g / (2 y)."""
        return (f.divide(b, f.multiply(b, received(cotangents), 0.5), outputs[0]),)


@op
class Rsqrt(Elementwise):
    """1 / sqrt(x)."""

    accepts = "float"
    domain = (0.2, 4.0)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("rsqrt", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (1.0 / np.sqrt(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """-g y / (2 x)."""
        return (f.divide(b, f.multiply(b, f.multiply(b, received(cotangents), -0.5), outputs[0]), inputs[0]),)


@op
class Tanh(Elementwise):
    """Hyperbolic tangent."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("tanh", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.tanh(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g (1 - y y)."""
        return (f.multiply(b, received(cotangents), f.subtract(b, 1.0, f.square(b, outputs[0]))),)


@op
class Sigmoid(Elementwise):
    """1 / (1 + e ** -x), without overflow for any x."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("sigmoid", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (_sigmoid(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g y (1 - y)."""
        return (f.multiply(b, f.multiply(b, received(cotangents), outputs[0]), f.subtract(b, 1.0, outputs[0])),)


@op
class Erf(Elementwise):
    """The error function, 2 / sqrt(pi) times the integral of e ** -t t from 0 to x."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("erf", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (_erf(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g 2 / sqrt(pi) e ** -x x."""
        return (
            f.multiply(
                b,
                f.multiply(b, received(cotangents), 2.0 / math.sqrt(math.pi)),
                f.exp(b, f.negative(b, f.square(b, inputs[0]))),
            ),
        )


@op
class Sin(Elementwise):
    """Sine of radians."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("sin", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.sin(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g cos(x)."""
        return (f.multiply(b, received(cotangents), f.cos(b, inputs[0])),)


@op
class Cos(Elementwise):
    """Cosine of radians."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("cos", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.cos(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """-g sin(x)."""
        return (f.negative(b, f.multiply(b, received(cotangents), f.sin(b, inputs[0]))),)


@op
class Relu(Elementwise):
    """max(x, 0); NaN stays NaN and the gradient at 0 is 0."""

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("maximum", x[0], literal(0, x[0].dtype))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.maximum(inputs[0], inputs[0].dtype.type(0)),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g where y > 0. The result decides, so that the input need not be kept."""
        return (f.where(b, f.greater(b, outputs[0], 0.0), received(cotangents), f.zeros_like(b, outputs[0])),)


def _sigmoid(x: Array) -> Array:
    decay = np.exp(-np.abs(x))
    return np.where(np.signbit(x), decay / (1 + decay), 1 / (1 + decay)).astype(x.dtype)


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=["float64"])(x)).astype(x.dtype)
