"""Cutting and joining along axes: slice, pad, concatenate.

Loads in a kernel are unconditional, so an index that may fall outside is first moved inside and the value
read there is then discarded by a select.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Fusion, Op, Value
from compiler.loops import Element, Expr, Lowering, literal, select
from compiler.ops.checks import (
    concrete,
    is_at_most,
    require_axes,
    require_equal_extents,
    require_inputs,
    require_length,
    require_not_negative,
    require_same_dtype,
)
from compiler.ops.families import Cotangents, received
from compiler.ops.registry import op
from compiler.ops.spatial import all_of, clamp, inside
from compiler.types import TensorType
from runtime.dimensions import Dim, ceil_div


@op
class Slice(Op):
    """Elements `start, start + step, ...` below `stop` of each axis; steps are positive.

    Bounds must lie in the axis. Where symbols hide whether they do, reads are kept inside the axis.
    """

    start: tuple[Dim, ...]
    stop: tuple[Dim, ...]
    step: tuple[int, ...]

    fusion = Fusion.INDEXED

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Extents of ceil((stop - start) / step)."""
        require_inputs(self.name, inputs, 1)
        for what in ("start", "stop", "step"):
            require_length(self.name, what, getattr(self, what), inputs[0].rank)
        for axis, extent in enumerate(inputs[0].shape):
            start, stop, step = self.start[axis], self.stop[axis], self.step[axis]
            wrong = step < 1 or any(isinstance(d, int) and d < 0 for d in (start, stop - start, extent - stop))
            if wrong:
                raise ValueError(
                    f"{self.name}: axis {axis} needs 0 <= start <= stop <= {extent} and step >= 1 "
                    f"(reverse is an op of its own). Received: start={start}, stop={stop}, step={step} "
                    f"for {inputs[0]}"
                )
        return (inputs[0].with_shape(*self._shape()),)

    def _shape(self) -> tuple[Dim, ...]:
        return tuple(
            ceil_div(stop - start, step) for start, stop, step in zip(self.start, self.stop, self.step, strict=True)
        )

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's basic indexing."""
        return (inputs[0][tuple(map(slice, self.start, self.stop, self.step))].copy(),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The cotangent, spread out by the steps, between zeros."""
        g = f.dilate(b, received(cotangents), self.step)
        axes = zip(inputs[0].type.shape, self.start, g.type.shape, strict=True)
        high = tuple(extent - start - covered for extent, start, covered in axes)
        return (f.pad(b, g, self.start, high),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The element at start + index step."""
        position = []
        for axis, extent in enumerate(types[0].shape):
            at = k.extent(self.start[axis]) + index[axis] * self.step[axis]
            proved = is_at_most(self.stop[axis], extent) and is_at_most(0, self.start[axis])
            position.append(at if proved else clamp(k, at, extent))
        return inputs[0](position)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Steps that do and do not divide the range, whole and empty ranges."""
        rng = np.random.default_rng(14)
        yield cls((2,), (6,), (1,)), (rng.normal(size=7),)
        yield cls((1, 0), (3, 5), (1, 2)), (rng.normal(size=(4, 5)),)
        yield cls((1, 0, 2), (8, 3, 5), (3, 1, 2)), (rng.normal(size=(9, 3, 5)),)
        yield cls((0, 4), (3, 4), (1, 1)), (rng.normal(size=(3, 5)),)
        yield cls((), (), ()), (rng.normal(size=()),)
        yield cls((3,), (9,), (2,)), (rng.integers(0, 9, 9),)


@op
class Pad(Op):
    """`low` elements of `value` before and `high` after each axis."""

    low: tuple[Dim, ...]
    high: tuple[Dim, ...]
    value: float | int | bool = 0

    fusion = Fusion.INDEXED

    def __post_init__(self) -> None:
        # One NaN object, since tuples compare NaN by identity.
        object.__setattr__(self, "value", math.nan if self.value != self.value else self.value)

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Extents grown by low + high."""
        require_inputs(self.name, inputs, 1)
        for what in ("low", "high"):
            require_length(self.name, what, getattr(self, what), inputs[0].rank)
            for amount in getattr(self, what):
                require_not_negative(self.name, what, amount)
        grown = zip(self.low, inputs[0].shape, self.high, strict=True)
        return (inputs[0].with_shape(*(low + extent + high for low, extent, high in grown)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's pad."""
        widths = list(zip(concrete(self.low), concrete(self.high), strict=True))
        return (np.pad(inputs[0], widths, constant_values=self.value) if widths else inputs[0].copy(),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The part that was there before."""
        shape = inputs[0].type.shape
        stop = tuple(low + extent for low, extent in zip(self.low, shape, strict=True))
        return (f.slice_(b, received(cotangents), self.low, stop),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The element, or the value outside."""
        shape, value = types[0].shape, literal(self.value, types[0].dtype)
        if 0 in shape:
            return value
        position: list[Expr] = []
        tests: list[Expr | None] = []
        for axis, extent in enumerate(shape):
            at = index[axis] - k.extent(self.low[axis])
            sides = {"low": self.low[axis] != 0, "high": self.high[axis] != 0}
            tests.append(inside(k, at, extent, **sides))
            position.append(clamp(k, at, extent, **sides))
        within = all_of(tests)
        element = inputs[0](position)
        return element if within is None else select(within, element, value)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Either side, both, neither, other values, no elements inside."""
        rng = np.random.default_rng(15)
        yield cls((2,), (1,)), (rng.normal(size=5),)
        yield cls((0, 1), (2, 0), 1.5), (rng.normal(size=(3, 4)),)
        yield cls((1, 0, 2), (1, 0, 3), -math.inf), (rng.normal(size=(2, 3, 4)),)
        yield cls((1,), (2,)), (rng.normal(size=0),)
        yield cls((), ()), (rng.normal(size=()),)
        yield cls((1, 1), (0, 2), 7), (rng.integers(0, 5, (2, 3)),)


@op
class Concatenate(Op):
    """Any number of inputs one after another along `axis`."""

    axis: int

    fusion = Fusion.INDEXED

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Extents add up along the axis and agree elsewhere."""
        if not inputs:
            raise TypeError(f"{self.name}: expected at least one input. Received: none")
        first = inputs[0]
        require_axes(self.name, (self.axis,), first.rank)
        for other in inputs[1:]:
            require_same_dtype(self.name, first, other)
            if other.rank != first.rank:
                raise ValueError(f"{self.name}: inputs must have one rank. Received: {' and '.join(map(str, inputs))}")
            for axis, (a, c) in enumerate(zip(first.shape, other.shape, strict=True)):
                if axis != self.axis:
                    require_equal_extents(self.name, f"extents of axis {axis} (all but axis {self.axis})", a, c)
        shape = list(first.shape)
        for other in inputs[1:]:
            shape[self.axis] = shape[self.axis] + other.shape[self.axis]
        return (first.with_shape(*shape),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's concatenate."""
        return (np.concatenate(inputs, self.axis),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """A slice for each input."""
        g, parts = received(cotangents), []
        begin: Dim = 0
        shape = g.type.shape
        for value in inputs:
            end = begin + value.type.shape[self.axis]
            start = tuple(begin if axis == self.axis else 0 for axis in range(len(shape)))
            stop = tuple(end if axis == self.axis else extent for axis, extent in enumerate(shape))
            parts.append(f.slice_(b, g, start, stop))
            begin = end
        return parts

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The element of the input that the index falls into."""
        result: Expr | None = None
        end: Dim = types[-1].shape[self.axis]
        for element, type_ in reversed(list(zip(inputs, types[:-1], strict=True))):
            extent = type_.shape[self.axis]
            begin = end - extent
            end = begin
            if extent == 0:
                continue
            position = list(index)
            at = index[self.axis] - k.extent(begin)
            position[self.axis] = clamp(k, at, extent, low=begin != 0, high=result is not None)
            value = element(position)
            result = value if result is None else select(at < k.extent(extent), value, result)
        return literal(0, types[-1].dtype) if result is None else result

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """One to four inputs, each axis, an empty one."""
        rng = np.random.default_rng(16)
        yield cls(0), (rng.normal(size=3),)
        yield cls(0), (rng.normal(size=(2, 3)), rng.normal(size=(4, 3)))
        yield cls(1), (rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 1, 2)), rng.normal(size=(2, 5, 2)))
        yield cls(0), tuple(rng.normal(size=n) for n in (2, 0, 3, 1))
        yield cls(1), (rng.integers(0, 5, (2, 3)), rng.integers(0, 5, (2, 2)))
