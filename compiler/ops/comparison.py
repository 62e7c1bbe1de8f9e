"""Comparisons, logic and selection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Op, Value
from compiler.loops import Expr, call, select
from compiler.ops.checks import require_dtype, require_inputs
from compiler.ops.families import Cotangents, Elementwise, received
from compiler.ops.registry import op
from compiler.types import TensorType, is_float


class Predicate(Elementwise):
    """Two inputs of one type, a bool result, no gradient."""

    arity = 2
    accepts = "any"
    result_dtype: ClassVar[str | None] = "bool"

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return call(self.name, *x)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: the result is a bool."""
        return None, None

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Small integers, so that equal pairs occur, as floats too; bools; NaN."""
        rng = np.random.default_rng(2)
        if cls.accepts == "bool":
            yield cls(), (rng.random((3, 7)) < 0.5, rng.random((3, 7)) < 0.5)
            yield cls(), (np.array(True), np.array(False))
            return
        small = rng.integers(-2, 3, (2, 4, 5))
        yield cls(), (small[0], small[1])
        yield cls(), (small[0].astype("float64"), small[1].astype("float64"))
        yield cls(), (np.array([np.nan, 1.0, np.nan, np.inf]), np.array([1.0, np.nan, np.nan, np.inf]))
        if cls.accepts == "any":
            yield cls(), (small[0] > 0, small[1] > 0)


@op
class Equal(Predicate):
    """x == y; NaN equals nothing."""

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's equal."""
        return (np.equal(*inputs),)


@op
class NotEqual(Predicate):
    """x != y; NaN differs from everything."""

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's not_equal."""
        return (np.not_equal(*inputs),)


@op
class Less(Predicate):
    """x < y."""

    accepts = "number"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's less."""
        return (np.less(*inputs),)


@op
class LessEqual(Predicate):
    """x <= y."""

    accepts = "number"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's less_equal."""
        return (np.less_equal(*inputs),)


@op
class Greater(Predicate):
    """x > y."""

    accepts = "number"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's greater."""
        return (np.greater(*inputs),)


@op
class GreaterEqual(Predicate):
    """x >= y."""

    accepts = "number"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's greater_equal."""
        return (np.greater_equal(*inputs),)


@op
class LogicalAnd(Predicate):
    """x and y."""

    accepts = "bool"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's logical_and."""
        return (np.logical_and(*inputs),)


@op
class LogicalOr(Predicate):
    """x or y."""

    accepts = "bool"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's logical_or."""
        return (np.logical_or(*inputs),)


@op
class Select(Elementwise):
    """x where the condition holds, else y; the side not chosen leaves no trace, not even NaN."""

    arity = 3

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """A bool condition and two inputs of one type, all of one shape."""
        require_inputs(self.name, inputs, 3)
        condition, chosen, otherwise = inputs
        require_dtype(self.name, condition, "bool", "condition")
        if chosen != otherwise or condition.shape != chosen.shape:
            raise ValueError(
                f"{self.name}: the condition must have the shape, and both choices the type, of the result "
                f"(broadcast and cast are ops of their own). Received: {condition}, {chosen} and {otherwise}"
            )
        return (chosen,)

    def scalar(self, *x: Expr) -> Expr:
        """The formula."""
        return select(*x)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's where."""
        return (np.where(*inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """To the side that was chosen."""
        if not is_float(inputs[1].type.dtype):
            return None, None, None
        g = received(cotangents)
        nothing = f.zeros_like(b, g)
        return None, f.where(b, inputs[0], g, nothing), f.where(b, inputs[0], nothing, g)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Floats, integers and a scalar."""
        rng = np.random.default_rng(3)
        for shape in ((), (7,), (3, 5, 2)):
            yield cls(), (rng.random(shape) < 0.5, rng.normal(size=shape), rng.normal(size=shape))
        yield cls(), (rng.random(9) < 0.5, rng.integers(0, 9, 9), rng.integers(0, 9, 9))
