"""Conversions between element types, predicates of one value, and the identity that stops gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Op, Value
from compiler.loops import Expr, call, cast, literal
from compiler.ops.checks import require_inputs
from compiler.ops.families import Cotangents, Elementwise, received
from compiler.ops.registry import op
from compiler.types import SHORT_NAMES, TensorType, is_float


@op
class Cast(Elementwise):
    """Conversion to another dtype: float to integer drops the fraction, anything to bool is `x != 0`.

    Floats that the integer dtype cannot hold, NaN among them, give an unspecified integer, as in NumPy.
    """

    dtype: str

    accepts = "any"

    def __post_init__(self) -> None:
        if self.dtype not in SHORT_NAMES:
            raise ValueError(f"cast: unknown dtype {self.dtype!r}. Expected one of {', '.join(SHORT_NAMES)}.")

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The same shape."""
        require_inputs(self.name, inputs, 1)
        return (inputs[0].with_dtype(self.dtype),)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("not_equal", x[0], literal(0, x[0].dtype)) if self.dtype == "bool" else cast(x[0], self.dtype)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's astype."""
        with np.errstate(invalid="ignore", over="ignore"):
            return (inputs[0].astype(self.dtype),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The cotangent, cast back; none through an integer or bool."""
        source = inputs[0].type.dtype
        return (f.cast(b, received(cotangents), source) if is_float(source) and is_float(self.dtype) else None,)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Between floats, integers and bools."""
        rng = np.random.default_rng(1)
        yield cls("float64"), (rng.normal(size=(3, 7)),)
        yield cls("int32"), (rng.uniform(-90, 90, (5, 3)),)
        yield cls("bool"), (np.array([0.0, -0.0, 0.5, -3.0]),)
        yield cls("float32"), (rng.integers(-9, 9, (2, 5)),)
        yield cls("int8"), (rng.random((4, 3)) < 0.5,)
        yield cls("uint8"), (rng.integers(0, 200, 11),)


@op
class StopGradient(Elementwise):
    """x itself, through which no gradient flows."""

    accepts = "any"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return x[0]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The same array."""
        return (inputs[0],)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None, by definition."""
        return (None,)


@op
class IsNan(Elementwise):
    """Where x is not a number."""

    accepts = "float"
    result_dtype: ClassVar[str | None] = "bool"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("is_nan", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's isnan."""
        return (np.isnan(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: the result is a bool."""
        return (None,)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """With and without NaN."""
        yield cls(), (np.array([[0.0, np.nan, np.inf], [-np.inf, 1.0, np.nan]]),)
        yield cls(), (np.array(np.nan),)


@op
class LogicalNot(Elementwise):
    """not x."""

    accepts = "bool"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call("logical_not", *x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's logical_not."""
        return (np.logical_not(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: the result is a bool."""
        return (None,)
