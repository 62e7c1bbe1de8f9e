"""Activations that are short formulas of primitives. Constants and defaults are those of Keras 3."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Op, Value
from compiler.ops.checks import require_dtype, require_inputs
from compiler.ops.families import Composite, Cotangents, Derived, received
from compiler.ops.registry import op

# Of gelu with a tanh: tanh(sqrt(2 / pi) (x + 0.044715 x ** 3)), here by the sigmoid of twice that.
_CUBIC = 0.044715
_TWICE = 2.0 * math.sqrt(2.0 / math.pi)
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


class Activation(Derived):
    """One float input, one result of its type."""

    def check(self, inputs: Sequence[Value]) -> Value:
        """The input; raises TypeError unless it is one of floats."""
        return _float_input(self.name, inputs)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Both sides of 0, near and far."""
        return _samples(cls)


class SmoothActivation(Activation):
    """One whose derivative is a formula of its input, which the kernel of the result computes beside that.

    The derivative is then all that is kept for the backward pass, which multiplies by it. Differentiating the formula
    step by step keeps an intermediate value for each of its products: of a dense layer with gelu, [4096, 128, 512],
    three arrays beside the result, and two products of the cotangent that had to be stored before they could be added.
    """

    @abc.abstractmethod
    def slope(self, b: Builder, x: Value) -> Value:
        """The derivative at x."""

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g times the derivative."""
        return (f.multiply(b, received(cotangents), self.slope(b, inputs[0])),)


@op
class Gelu(SmoothActivation):
    """x times the normal distribution function at x; `approximate` replaces that by a tanh.

    Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """

    approximate: bool = False

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The formula."""
        x = self.check(inputs)
        return (f.multiply(b, x, self._share(b, x)),)

    def slope(self, b: Builder, x: Value) -> Value:
        """The share of x, and x times its density: or what the tanh gives in place of that, s (1 - s) inner'."""
        share = self._share(b, x)
        if self.approximate:
            inner = f.add(b, f.multiply(b, f.square(b, x), 3.0 * _CUBIC * _TWICE), _TWICE)
            rise = f.multiply(b, f.multiply(b, share, f.subtract(b, 1.0, share)), inner)
        else:
            rise = f.normal_density(b, x)
        return f.add(b, f.multiply(b, x, rise), share)

    def _share(self, b: Builder, x: Value) -> Value:
        """The part of x that passes, in 0..1."""
        if self.approximate:
            # (1 + tanh(z)) / 2 = sigmoid(2 z), without cancellation where x is far below 0.
            cubic = f.multiply(b, f.multiply(b, f.square(b, x), x), _CUBIC)
            return f.sigmoid(b, f.multiply(b, f.add(b, x, cubic), _TWICE))
        return f.normal_distribution(b, x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        x = inputs[0].astype("float64")
        if self.approximate:
            share = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
        else:
            share = np.vectorize(math.erf, otypes=["float64"])(x / np.sqrt(2))
        return ((x * (1 + share) / 2).astype(inputs[0].dtype),)


@op
class Silu(SmoothActivation):
    """x sigmoid(x), also called swish."""

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The formula."""
        x = self.check(inputs)
        return (f.multiply(b, x, f.sigmoid(b, x)),)

    def slope(self, b: Builder, x: Value) -> Value:
        """s (1 + x (1 - s))."""
        share = f.sigmoid(b, x)
        return f.multiply(b, share, f.add(b, f.multiply(b, x, f.subtract(b, 1.0, share)), 1.0))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (inputs[0] / (1 + np.exp(-inputs[0])),)


@op
class Softsign(Activation):
    """x / (1 + |x|)."""

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The formula."""
        x = self.check(inputs)
        return (f.divide(b, x, f.add(b, f.absolute(b, x), 1.0)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (inputs[0] / (1 + np.abs(inputs[0])),)


@op
class Elu(Activation):
    """x above 0, alpha (e ** x - 1) below.

    Clevert et al., Fast and Accurate Deep Network Learning by Exponential Linear Units, 2016.
    """

    alpha: float = 1.0

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The formula."""
        x = self.check(inputs)
        positive = f.greater(b, x, 0.0)
        # The exponential never sees what it is not used for: no overflow, no NaN in the gradient.
        below = f.multiply(b, f.expm1(b, f.where(b, positive, 0.0, x)), self.alpha)
        return (f.where(b, positive, x, below),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        x = inputs[0]
        return (np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0))),)


@op
class Selu(Activation):
    """scale x above 0, scale alpha (e ** x - 1) below.

    Klambauer et al., Self-Normalizing Neural Networks, 2017; the constants are Keras's.
    """

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The formula."""
        x = self.check(inputs)
        return (f.multiply(b, f.elu(b, x, SELU_ALPHA), SELU_SCALE),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        x = inputs[0].astype("float64")
        result = SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))
        return (result.astype(inputs[0].dtype),)


@op
class LeakyRelu(Activation):
    """x from 0 up, slope x below."""

    slope: float = 0.2

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The formula."""
        x = self.check(inputs)
        return (f.where(b, f.greater_equal(b, x, 0.0), x, f.multiply(b, x, self.slope)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        x = inputs[0]
        return (np.where(x >= 0, x, x * x.dtype.type(self.slope)),)


@op
class HardSigmoid(Activation):
    """x / 6 + 1/2, cut to 0..1."""

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """The formula."""
        x = self.check(inputs)
        return (f.clip(b, f.add(b, f.multiply(b, x, 1.0 / 6.0), 0.5), 0.0, 1.0),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.clip(inputs[0] / 6 + inputs[0].dtype.type(0.5), 0, 1),)


@op
class Softplus(Composite):
    """log(1 + e ** x), without overflow."""

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """max(x, 0) + log1p(e ** -|x|)."""
        x = _float_input(self.name, inputs)
        small = f.log1p(b, f.exp(b, f.negative(b, f.absolute(b, x))))
        return (f.add(b, f.maximum(b, x, 0.0), small),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's logaddexp."""
        return (np.logaddexp(inputs[0], inputs[0].dtype.type(0)),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """g sigmoid(x)."""
        return (f.multiply(b, received(cotangents), f.sigmoid(b, inputs[0])),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Both sides of 0, near and far."""
        return _samples(cls)


def _float_input(name: str, inputs: Sequence[Value]) -> Value:
    types = [value.type for value in inputs]
    require_inputs(name, types, 1)
    require_dtype(name, types[0], "float")
    return inputs[0]


def _samples(cls: Any) -> Iterator[tuple[Op, tuple[Array, ...]]]:
    rng = np.random.default_rng(60)
    for shape in ((), (7,), (3, 5)):
        yield cls(), (rng.uniform(-2, 2, shape),)
    yield cls(), (np.array([-50.0, -20.0, -5.0, -0.01, 0.01, 5.0, 20.0, 50.0]),)
    if fields := {field.name for field in dataclasses.fields(cls)}:
        other: Any = True if "approximate" in fields else 0.3
        yield cls(other), (rng.uniform(-2, 2, (2, 9)),)
