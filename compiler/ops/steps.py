"""Step functions: sign and rounding. No gradient flows, since they are constant between their steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.ir import Array, Builder, Value
from compiler.loops import Expr, call
from compiler.ops.families import Cotangents, Elementwise
from compiler.ops.registry import op


@op
class Sign(Elementwise):
    """-1, 0 or 1; NaN stays NaN."""

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("sign", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.sign(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: constant but for the step at 0."""
        return (None,)


@op
class Floor(Elementwise):
    """The greatest integer not above x."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("floor", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.floor(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: constant between its steps."""
        return (None,)


@op
class Ceil(Elementwise):
    """The smallest integer not below x."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("ceil", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.ceil(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: constant between its steps."""
        return (None,)


@op
class Round(Elementwise):
    """The nearest integer, halves to even."""

    accepts = "float"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("round", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """In NumPy."""
        return (np.rint(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: constant between its steps."""
        return (None,)
