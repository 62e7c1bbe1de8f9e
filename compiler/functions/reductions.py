"""Reductions over axes; `axes` None means all, `keepdims` leaves axes of extent 1."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.functions.core import Operand, cast, emit, normalize_axes, normalize_axis
from compiler.functions.shapes import reshape
from compiler.functions.sources import dimension
from compiler.ir import Builder, Value
from compiler.types import product

Axes = int | Sequence[int] | None


def _reduce(b: Builder, name: str, x: Value, axes: Axes, keepdims: bool) -> Value:
    chosen = normalize_axes(axes, x.type.rank)
    result = emit(b, name, x, axes=chosen) if chosen else x
    return keep_axes(b, result, x, chosen) if keepdims else result


def keep_axes(b: Builder, result: Value, x: Value, axes: Sequence[int]) -> Value:
    """A reduction's result with the reduced axes put back at extent 1."""
    return reshape(b, result, [1 if axis in axes else extent for axis, extent in enumerate(x.type.shape)])


def _number(b: Builder, x: Value) -> Value:
    return cast(b, x, "int32") if x.type.dtype == "bool" else x


def reduce_sum(b: Builder, x: Value, axes: Axes = None, keepdims: bool = False) -> Value:
    """The sum, in x's dtype (bools are counted as int32)."""
    return _reduce(b, "reduce_sum", _number(b, x), axes, keepdims)


def reduce_prod(b: Builder, x: Value, axes: Axes = None, keepdims: bool = False) -> Value:
    """The product, in x's dtype (bools are counted as int32)."""
    return _reduce(b, "reduce_prod", _number(b, x), axes, keepdims)


def reduce_max(b: Builder, x: Value, axes: Axes = None, keepdims: bool = False) -> Value:
    """The greatest element; NaN if there is one."""
    return _reduce(b, "reduce_max", x, axes, keepdims)


def reduce_min(b: Builder, x: Value, axes: Axes = None, keepdims: bool = False) -> Value:
    """The smallest element; NaN if there is one."""
    return _reduce(b, "reduce_min", x, axes, keepdims)


def any_(b: Builder, x: Value, axes: Axes = None, keepdims: bool = False) -> Value:
    """Whether any element is true (not zero)."""
    return _reduce(b, "reduce_max", cast(b, x, "bool"), axes, keepdims)


def all_(b: Builder, x: Value, axes: Axes = None, keepdims: bool = False) -> Value:
    """Whether all elements are true (not zero)."""
    return _reduce(b, "reduce_min", cast(b, x, "bool"), axes, keepdims)


def _arg(b: Builder, name: str, x: Value, axis: int | None, keepdims: bool) -> Value:
    source = reshape(b, x, (-1,)) if axis is None else x
    chosen = 0 if axis is None else normalize_axis(axis, x.type.rank)
    result = emit(b, name, source, axis=chosen)
    if not keepdims:
        return result
    return keep_axes(b, result, x, range(x.type.rank) if axis is None else (chosen,))


def argmax(b: Builder, x: Value, axis: int | None = None, keepdims: bool = False) -> Value:
    """The index (int64) of the first greatest element; None: of the flattened tensor."""
    return _arg(b, "argmax", x, axis, keepdims)


def argmin(b: Builder, x: Value, axis: int | None = None, keepdims: bool = False) -> Value:
    """The index (int64) of the first smallest element; None: of the flattened tensor."""
    return _arg(b, "argmin", x, axis, keepdims)


def count(b: Builder, x: Value, axes: Axes) -> Operand:
    """How many elements a reduction over these axes combines: a number, or a scalar of x's wide dtype."""
    elements = product(tuple(x.type.shape[axis] for axis in normalize_axes(axes, x.type.rank)))
    wide = "float32" if x.type.dtype == "float16" else x.type.dtype
    return float(elements) if isinstance(elements, int) else dimension(b, elements, wide)
