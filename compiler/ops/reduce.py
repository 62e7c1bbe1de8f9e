"""Reductions: the named axes disappear. Over no elements they give the neutral element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Fusion, Op, Value
from compiler.loops import INDEX, Element, Expr, Lowering, call, select
from compiler.ops.checks import require_axes, require_dtype, require_inputs
from compiler.ops.families import Cotangents, received
from compiler.ops.registry import op
from compiler.types import TensorType, is_float


class Reduction(Op):
    """Combines all elements along some axes. Subclasses have the field `axes`, ascending."""

    fusion = Fusion.REDUCTION
    combine: ClassVar[str]
    accepts: ClassVar[str] = "number"
    axes: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The shape without the axes."""
        require_inputs(self.name, inputs, 1)
        require_dtype(self.name, inputs[0], self.accepts)
        require_axes(self.name, self.axes, inputs[0].rank)
        kept = (extent for axis, extent in enumerate(inputs[0].shape) if axis not in self.axes)
        return (inputs[0].with_shape(*kept),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """One loop an axis."""
        x = types[0]

        def body(reduced: tuple[Expr, ...]) -> Expr:
            inner, outer = iter(reduced), iter(index)
            return inputs[0]([next(inner if axis in self.axes else outer) for axis in range(x.rank)])

        return k.reduce(self.combine, x.dtype, [x.shape[axis] for axis in self.axes], body)

    def over(self, axes: tuple[int, ...]) -> Reduction:
        """The same reduction along other axes."""
        make: Any = type(self)
        reduction: Reduction = make(axes)
        return reduction

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """One axis, several, all, none; a long axis; integers; no elements."""
        rng = np.random.default_rng(20)
        make: Any = cls
        yield make(axes=(0,)), (rng.normal(size=7),)
        yield make(axes=(1,)), (rng.normal(size=(3, 5)),)
        yield make(axes=(0, 2)), (rng.normal(size=(2, 3, 5)),)
        yield make(axes=(0, 1, 2)), (rng.normal(size=(2, 3, 4)),)
        yield make(axes=()), (rng.normal(size=(2, 3)),)
        yield make(axes=(0,)), (rng.normal(size=(37, 3)),)
        yield make(axes=(1,)), (rng.integers(1, 9, (3, 5), np.int32),)
        yield make(axes=(1,)), (rng.normal(size=(3, 0)),)
        if cls.accepts == "any":
            yield make(axes=(1,)), (rng.random((5, 3)) < 0.5,)


@op
class ReduceSum(Reduction):
    """The sum, in the input's own dtype."""

    axes: tuple[int, ...]

    combine = "add"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's sum."""
        return (np.asarray(inputs[0].sum(self.axes, dtype=inputs[0].dtype)),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The cotangent, repeated."""
        return (f.spread(b, received(cotangents), inputs[0].type.shape, self.axes),)

    def can_run_over_steps(self, inputs: Sequence[Value]) -> bool:
        """Always: the steps are one more axis."""
        return True

    def over_steps(self, b: Builder, stacks: Sequence[Value]) -> Value:
        """The sum over the steps, too."""
        return f.reduce_sum(b, stacks[0], (0, *(axis + 1 for axis in self.axes)))


@op
class ReduceProd(Reduction):
    """The product, in the input's own dtype."""

    axes: tuple[int, ...]

    combine = "multiply"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's prod."""
        return (np.asarray(inputs[0].prod(self.axes, dtype=inputs[0].dtype)),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The product of all *other* elements, right with zeros among them too.

        With one zero only that element has a slope, with two or more none has. (The gradient of this
        gradient is right where no element is zero.)
        """
        g, (x,) = received(cotangents), inputs
        shape = x.type.shape
        zero = f.equal(b, x, 0.0)
        others = f.where(b, zero, 1.0, x)
        count = f.spread(b, f.reduce_sum(b, f.cast(b, zero, x.type.dtype), self.axes), shape, self.axes)
        rest = f.spread(b, f.multiply(b, g, f.reduce_prod(b, others, self.axes)), shape, self.axes)
        at_zero = f.where(b, f.equal(b, count, 1.0), rest, 0.0)
        elsewhere = f.where(b, f.equal(b, count, 0.0), f.divide(b, rest, others), 0.0)
        return (f.where(b, zero, at_zero, elsewhere),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """The common ones, and rows with no, one and two zeros."""
        yield from super().samples()
        yield cls((1,)), (np.array([[1.5, 2.0, -3.0], [0.0, 2.0, -0.5], [0.0, 4.0, 0.0]]),)


class Extremum(Reduction):
    """The greatest or smallest element; NaN if there is one. Equal winners share the gradient, as in JAX."""

    accepts = "any"

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """To the winners, in equal parts."""
        g, (x,) = received(cotangents), inputs
        winner = f.cast(b, f.equal(b, x, f.spread(b, outputs[0], x.type.shape, self.axes)), x.type.dtype)
        share = f.divide(b, g, f.reduce_sum(b, winner, self.axes))
        return (f.multiply(b, winner, f.spread(b, share, x.type.shape, self.axes)),)


@op
class ReduceMax(Extremum):
    """The greatest element, "any" of bools; over no elements the dtype's lowest value or -infinity."""

    axes: tuple[int, ...]

    combine = "maximum"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's max."""
        return (np.asarray(inputs[0].max(self.axes, initial=lowest(inputs[0].dtype.name))),)


@op
class ReduceMin(Extremum):
    """The smallest element, "all" of bools; over no elements the dtype's highest value or infinity."""

    axes: tuple[int, ...]

    combine = "minimum"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's min."""
        return (np.asarray(inputs[0].min(self.axes, initial=highest(inputs[0].dtype.name))),)


class ArgExtremum(Op):
    """The index of the first winner along `axis`, or of the first NaN; int64. Subclasses have that field."""

    fusion = Fusion.WINDOW  # two passes over the axis, so it cannot share the one loop of a reduction
    combine: ClassVar[str]
    axis: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The shape without the axis, int64."""
        require_inputs(self.name, inputs, 1)
        require_axes(self.name, (self.axis,), inputs[0].rank)
        if inputs[0].shape[self.axis] == 0:
            raise ValueError(f"{self.name}: axis {self.axis} has no elements to choose from in {inputs[0]}")
        kept = (extent for axis, extent in enumerate(inputs[0].shape) if axis != self.axis)
        return (TensorType(tuple(kept), "int64"),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """None: the result is an integer."""
        return (None,)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """Two loops, which both vectorise: the winner's value, then the first index that has it."""
        x = types[0]
        extent = k.extent(x.shape[self.axis])

        def at(position: Expr) -> Expr:
            return inputs[0]([*index[: self.axis], position, *index[self.axis :]])

        best = k.let(k.reduce(self.combine, x.dtype, [x.shape[self.axis]], lambda i: at(i[0])))

        def candidate(i: tuple[Expr, ...]) -> Expr:
            value = at(i[0])
            wins = value.equals(best)
            if is_float(x.dtype):
                # With a NaN the winner is NaN, which equals nothing; without one this changes nothing.
                wins = wins | call("is_nan", value)
            return select(wins, i[0], extent)

        first = k.reduce("minimum", INDEX, [x.shape[self.axis]], candidate)
        last = extent - 1
        return select(first < last, first, last)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Each axis, ties, NaN, integers, bools."""
        rng = np.random.default_rng(21)
        make: Any = cls
        yield make(axis=0), (rng.normal(size=7),)
        yield make(axis=1), (rng.normal(size=(2, 9, 3)),)
        yield make(axis=2), (rng.integers(0, 3, (2, 3, 8)),)
        yield make(axis=0), (rng.integers(0, 3, (8, 2)).astype("float64"),)
        yield make(axis=1), (np.array([[1.0, np.nan, 3.0, np.nan], [2.0, 5.0, 5.0, 1.0]]),)
        yield make(axis=0), (rng.random((4, 3)) < 0.5,)
        yield make(axis=1), (rng.normal(size=(3, 1)),)


@op
class Argmax(ArgExtremum):
    """The index of the first greatest element."""

    axis: int

    combine = "maximum"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's argmax."""
        return (np.asarray(inputs[0].argmax(self.axis)),)


@op
class Argmin(ArgExtremum):
    """The index of the first smallest element."""

    axis: int

    combine = "minimum"

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's argmin."""
        return (np.asarray(inputs[0].argmin(self.axis)),)


def lowest(dtype: str) -> Any:
    """The value that no element is below."""
    if dtype == "bool":
        return False
    return -np.inf if is_float(dtype) else np.iinfo(dtype).min


def highest(dtype: str) -> Any:
    """The value that no element is above."""
    if dtype == "bool":
        return True
    return np.inf if is_float(dtype) else np.iinfo(dtype).max
