"""Binary arithmetic: two inputs of one type, one result of that type.

Gradients are emitted through `compiler.functions`, which resolves ops by name: that is what lets an op's
gradient use ops of every other module without an import cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Value
from compiler.loops import Expr, call
from compiler.ops.families import Cotangents, Elementwise, received
from compiler.ops.registry import op
from compiler.types import is_float


@op
class Add(Elementwise):
    """x + y."""

    arity = 2

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return x[0] + x[1]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's add."""
        return (np.add(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """(g, g)."""
        return cotangents[0], cotangents[0]


def summands(*values: Value) -> Iterator[Value]:
    """The terms that the values, themselves sums of sums, are made of, the last first.

    A sum that is met again is a term itself: a value doubled over and over has as many terms as there are additions.
    """
    seen: set[Value] = set()
    pending = list(values)
    while pending:
        term = pending.pop()
        if isinstance(term.op, Add) and term not in seen:
            seen.add(term)
            pending.extend(term.producer.inputs)
        else:
            yield term


@op
class Subtract(Elementwise):
    """x - y."""

    arity = 2

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return x[0] - x[1]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's subtract."""
        return (np.subtract(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """(g, -g)."""
        g = received(cotangents)
        return g, f.negative(b, g)


@op
class Multiply(Elementwise):
    """x * y."""

    arity = 2

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return x[0] * x[1]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's multiply."""
        return (np.multiply(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """(g y, g x)."""
        g = received(cotangents)
        return f.multiply(b, g, inputs[1]), f.multiply(b, g, inputs[0])


@op
class Divide(Elementwise):
    """x / y of floats; by zero gives infinity or NaN."""

    arity = 2
    accepts = "float"
    domain = (0.5, 3.0)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return x[0] / x[1]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's divide."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.divide(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """(g / y, -(g / y) (x / y))."""
        g = f.divide(b, received(cotangents), inputs[1])
        return g, f.negative(b, f.multiply(b, g, outputs[0]))


@op
class Power(Elementwise):
    """x ** y. A negative float base to a non-integer exponent is NaN; 0 ** 0 is 1."""

    arity = 2
    domain = (0.3, 2.5)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("power", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's power."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.power(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """(g y x**(y-1), g x**y log x): the first is 0 where y is 0, the second where x is 0, as in JAX."""
        if not is_float(inputs[0].type.dtype):
            return None, None
        g, (x, y) = received(cotangents), inputs
        flat = f.equal(b, y, 0.0)
        slope = f.multiply(b, y, f.power(b, x, f.subtract(b, f.where(b, flat, 1.0, y), 1.0)))
        log = f.log(b, f.where(b, f.equal(b, x, 0.0), 1.0, x))
        return f.multiply(b, g, slope), f.multiply(b, g, f.multiply(b, outputs[0], log))


@op
class Maximum(Elementwise):
    """The greater of x and y; NaN if either is NaN."""

    arity = 2

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("maximum", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's maximum."""
        return (np.maximum(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """To the greater input; ties share it in halves, as in JAX."""
        return _by_order(b, received(cotangents), inputs[0], inputs[1])


@op
class Minimum(Elementwise):
    """The smaller of x and y; NaN if either is NaN."""

    arity = 2

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("minimum", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's minimum."""
        return (np.minimum(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """To the smaller input; ties share it in halves, as in JAX."""
        greater, smaller = _by_order(b, received(cotangents), inputs[0], inputs[1])
        return smaller, greater


@op
class FloorDivide(Elementwise):
    """The floor of x / y. Integer division by zero gives 0, as NumPy does."""

    arity = 2
    domain = (0.5, 3.0)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("floor_divide", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's floor_divide."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.floor_divide(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: constant between its steps."""
        return None, None


@op
class Remainder(Elementwise):
    """x - floor(x / y) y: the result has the sign of y, as in Python. Integer x % 0 gives 0."""

    arity = 2
    domain = (0.5, 3.0)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("remainder", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's remainder."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.remainder(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """(g, -g floor(x / y))."""
        if not is_float(inputs[0].type.dtype):
            return None, None
        g = received(cotangents)
        return g, f.negative(b, f.multiply(b, g, f.floor_divide(b, inputs[0], inputs[1])))


def _by_order(b: Builder, g: Value, x: Value, y: Value) -> tuple[Value, Value]:
    """g where x > y and g where x < y, half of it in both where they are equal."""
    nothing = f.zeros_like(b, g)
    tie = f.where(b, f.equal(b, x, y), f.multiply(b, g, 0.5), nothing)
    return f.where(b, f.greater(b, x, y), g, tie), f.where(b, f.less(b, x, y), g, tie)
