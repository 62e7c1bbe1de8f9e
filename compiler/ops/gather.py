"""Reading and adding at computed places along one axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compiler.ir import Array, Builder, Fusion, Op, Value
from compiler.loops import INDEX, Element, Expr, Lowering, cast, literal, select
from compiler.ops.checks import (
    concrete,
    require_axes,
    require_dtype,
    require_equal_extents,
    require_inputs,
    require_rank,
)
from compiler.ops.families import Cotangents, received
from compiler.ops.registry import op
from compiler.ops.spatial import clamp
from compiler.types import TensorType, is_float
from runtime.dimensions import Dim


@op
class Take(Op):
    """(x, integer indices) -> the slices of x at the indices along `axis`; their axes take its place.

    Indices -n to -1 count from the end. Others outside the axis give `fill`, which by default (None) is NaN,
    or for integers and bools the value least likely to be overlooked: this is what `jax.numpy.take` and so
    `keras.ops.take` on JAX do (mode "fill"), and a mistake shows in the result instead of in the memory.
    """

    axis: int
    fill: float | None = None

    fusion = Fusion.INDEXED

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The shape of x with the axis replaced by those of the indices."""
        require_inputs(self.name, inputs, 2)
        x, indices = inputs
        require_axes(self.name, (self.axis,), x.rank)
        require_dtype(self.name, indices, "integer", "indices")
        return (x.with_shape(*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :]),)

    def value_outside(self, dtype: str) -> Any:
        """What an index outside the axis gives."""
        if self.fill is not None:
            return self.fill
        if is_float(dtype) or dtype == "bool":
            return True if dtype == "bool" else np.nan
        limits = np.iinfo(dtype)
        return limits.min if limits.min < 0 else limits.max

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's take, and a fill."""
        x, indices = inputs
        extent = x.shape[self.axis]
        wrapped, valid = _wrap(indices, extent)
        shape = (*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :])
        outside = np.full(shape, self.value_outside(x.dtype.name), x.dtype)
        if extent == 0:
            return (outside,)
        after = (1,) * (x.ndim - 1 - self.axis)
        taken = np.take(x, np.where(valid, wrapped, 0), self.axis)
        return (np.where(valid.reshape(indices.shape + after), taken, outside),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The cotangents added up at the indices."""
        x, indices = inputs
        if not is_float(x.type.dtype):
            return None, None
        extent = x.type.shape[self.axis]
        return b.emit(ScatterAdd(self.axis, extent), received(cotangents), indices), None

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """One read of the index and one of the element."""
        x, indices, _ = types
        outside = literal(self.value_outside(x.dtype), x.dtype)
        if x.shape[self.axis] == 0:
            return outside
        end = self.axis + indices.rank
        extent = k.extent(x.shape[self.axis])
        place = k.let(cast(inputs[1](index[self.axis : end]), INDEX))
        place = k.let(select(place < 0, place + extent, place))
        valid = (place >= 0) & (place < extent)
        position = clamp(k, place, x.shape[self.axis])
        element = inputs[0]([*index[: self.axis], position, *index[end:]])
        return select(valid, element, outside)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Each axis; indices of any rank, repeated, negative, outside."""
        rng = np.random.default_rng(40)
        x = rng.normal(size=(5, 4, 3))
        yield cls(0), (rng.normal(size=7), np.array(3))
        yield cls(0), (x, rng.integers(0, 5, (2, 3)))
        yield cls(1), (x, np.array([3, 0, 0, -1, -4], np.int32))
        yield cls(2), (x, np.zeros((2, 0), np.int64))
        yield cls(2, 0.0), (x, np.array([[2, 3], [-3, -4]]))
        yield cls(0, -1.5), (x, np.array([7, 1], np.uint8))
        yield cls(0), (rng.integers(0, 9, (4, 2)), np.array([1, 4, -5]))
        yield cls(0), (x.astype("float32"), np.array([0, 5]))


@op
class ScatterAdd(Op):
    """(updates, integer indices) -> zeros of `extent` along `axis`, with each update added at its index.

    The transpose of Take: indices -n to -1 count from the end, others outside the axis add nothing. Updates
    to one place are added in the order of the indices.
    """

    axis: int
    extent: Dim

    fusion = Fusion.WINDOW

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The shape of the updates with the axes of the indices replaced by one of `extent`."""
        require_inputs(self.name, inputs, 2)
        updates, indices = inputs
        require_dtype(self.name, updates, "number", "updates")
        require_dtype(self.name, indices, "integer", "indices")
        require_rank(self.name, updates, self.axis + indices.rank, "updates", at_least=True)
        end = self.axis + indices.rank
        for axis, (extent, wanted) in enumerate(zip(updates.shape[self.axis : end], indices.shape, strict=True)):
            what = f"axis {self.axis + axis} of updates {updates} and axis {axis} of indices {indices}"
            require_equal_extents(self.name, what, extent, wanted)
        return (updates.with_shape(*updates.shape[: self.axis], self.extent, *updates.shape[end:]),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's unbuffered add."""
        updates, indices = inputs
        (extent,) = concrete((self.extent,))
        before, after = updates.shape[: self.axis], updates.shape[self.axis + indices.ndim :]
        result = np.zeros((extent, *before, *after), updates.dtype)
        wrapped, valid = _wrap(indices, extent)
        rows = np.moveaxis(updates.reshape(*before, indices.size, *after), self.axis, 0)
        np.add.at(result, wrapped[valid], rows[valid.reshape(-1)])
        return (np.ascontiguousarray(np.moveaxis(result, 0, self.axis)),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """The cotangent at the indices, zero for those outside."""
        if not is_float(inputs[0].type.dtype):
            return None, None
        return b.emit(Take(self.axis, 0.0), received(cotangents), inputs[1]), None

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A sum over all indices that name the place: right everywhere, but quadratic.

        The CPU never does this: the pass `touch_rows` sums the updates of each row there.
        """
        updates, indices, _ = types
        at, extent = index[self.axis], k.extent(self.extent)

        def body(i: tuple[Expr, ...]) -> Expr:
            place = k.let(cast(inputs[1](list(i)), INDEX))
            place = select(place < 0, place + extent, place)
            update = inputs[0]([*index[: self.axis], *i, *index[self.axis + 1 :]])
            return select(place.equals(at), update, literal(0, updates.dtype))

        return k.reduce("add", updates.dtype, indices.shape, body)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Each axis; indices of any rank, repeated, negative, outside."""
        rng = np.random.default_rng(41)
        yield cls(0, 6), (rng.normal(size=(5, 3)), np.array([0, 5, 0, -1, 2]))
        yield cls(1, 3), (rng.normal(size=(2, 2, 4, 3)), rng.integers(-3, 3, (2, 4)))
        yield cls(0, 4), (rng.normal(size=4), np.array([1, 9, -5, 3], np.int32))
        yield cls(1, 5), (rng.normal(size=(3, 2)), np.array(4))
        yield cls(0, 3), (rng.integers(0, 9, (4, 2)), np.array([1, 1, 2, 1], np.uint8))


def _wrap(indices: Array, extent: int) -> tuple[Array, Array]:
    """Indices counted from the front, and which of them lie in the axis."""
    wide = indices.astype("int64")
    wrapped = np.where(wide < 0, wide + extent, wide)
    return wrapped, (wrapped >= 0) & (wrapped < extent)
