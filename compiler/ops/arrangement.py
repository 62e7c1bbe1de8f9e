"""Composites that place values: one-hot rows, repeated pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Op, Value
from compiler.ops.checks import require_axes, require_dtype, require_inputs, require_length, require_not_negative
from compiler.ops.families import Derived
from compiler.ops.registry import op
from compiler.types import SHORT_NAMES
from runtime.dimensions import Dim


@op
class OneHot(Derived):
    """Integer indices -> 1 at each index along a new axis of extent `depth`, else 0.

    `axis` is the new axis's place in the result. An index outside 0..depth - 1 gives zeros only.
    """

    depth: Dim
    axis: int
    dtype: str = "float32"

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """A comparison with a ramp."""
        types = [value.type for value in inputs]
        require_inputs(self.name, types, 1)
        require_dtype(self.name, types[0], "integer", "indices")
        require_axes(self.name, (self.axis,), types[0].rank + 1)
        require_not_negative(self.name, "depth", self.depth)
        if self.dtype not in SHORT_NAMES:
            raise ValueError(f"{self.name}: unknown dtype {self.dtype!r}. Expected one of {', '.join(SHORT_NAMES)}.")
        shape = (*types[0].shape[: self.axis], self.depth, *types[0].shape[self.axis :])
        indices = f.spread(b, f.cast(b, inputs[0], "int64"), shape, (self.axis,))
        return (f.cast(b, f.equal(b, indices, f.iota(b, shape, self.axis, "int64")), self.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Rows of a unit matrix, and one of zeros for what is outside."""
        if not isinstance(self.depth, int):
            raise ValueError(f"reference needs a number for the symbolic depth {self.depth}: bind the op first.")
        rows = np.concatenate([np.eye(self.depth, dtype=self.dtype), np.zeros((1, self.depth), self.dtype)])
        wide = inputs[0].astype("int64")
        place = np.where((wide >= 0) & (wide < self.depth), wide, self.depth)
        return (np.ascontiguousarray(np.moveaxis(rows[place], -1, self.axis)),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Each place of the axis; indices outside; other dtypes."""
        rng = np.random.default_rng(80)
        yield cls(4, 1), (rng.integers(0, 4, 7),)
        yield cls(5, 2, "float64"), (rng.integers(-1, 6, (3, 2)),)
        yield cls(3, 0, "int32"), (np.array([2, 0, 3], np.uint8),)
        yield cls(3, 0, "bool"), (np.array(1),)


@op
class UpsampleNearest(Derived):
    """[batch, *spatial, channels] with every pixel repeated `factors` times along each spatial axis."""

    factors: tuple[int, ...]

    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """A broadcast into new axes, which then join their neighbours."""
        types = [value.type for value in inputs]
        require_inputs(self.name, types, 1)
        require_length(self.name, "factors", (1, *self.factors, 1), types[0].rank)
        if any(factor < 1 for factor in self.factors):
            raise ValueError(f"{self.name}: factors must be positive. Received: factors={self.factors}")
        batch, *spatial, channels = types[0].shape
        pairs = [extent for pair in zip(spatial, self.factors, strict=True) for extent in pair]
        axes = (0, *range(1, 1 + len(pairs), 2), 1 + len(pairs))
        wide = f.broadcast_in(b, inputs[0], (batch, *pairs, channels), axes)
        grown = (extent * factor for extent, factor in zip(spatial, self.factors, strict=True))
        return (f.reshape(b, wide, (batch, *grown, channels)),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's repeat, axis by axis."""
        result = inputs[0]
        for axis, factor in enumerate(self.factors, 1):
            result = np.repeat(result, factor, axis)
        return (result.copy(),)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """One to three spatial axes, unequal factors."""
        rng = np.random.default_rng(81)
        yield cls((3,)), (rng.normal(size=(2, 4, 3)),)
        yield cls((2, 3)), (rng.normal(size=(1, 3, 2, 2)),)
        yield cls((1, 2, 2)), (rng.normal(size=(1, 2, 2, 3, 1)),)
        yield cls((2, 2)), (rng.integers(0, 9, (1, 2, 3, 2)),)
