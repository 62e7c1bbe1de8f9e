"""Sums, means, extremes and positions of extremes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from compiler import functions as f
from compiler.ir import Builder, Value
from compiler.types import is_float
from graphcore import settings
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import to_float
from graphcore.ops.keras_class import keras_class

Axis = int | Sequence[int] | None
_Combine = Callable[[Builder, Value, Value], Value]

_SUM_DTYPES = {"bool": "int32", "int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"}


@keras_class("numpy", "axis keepdims")
@operation
def sum(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Value:
    """The sum over the axes (None: all); small integers are summed in 32 bits."""
    return f.reduce_sum(b, f.cast(b, x, _SUM_DTYPES.get(x.type.dtype, x.type.dtype)), axis, keepdims)


@keras_class("numpy", "axis keepdims dtype")
@operation
def prod(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Value:
    """The product over the axes (None: all)."""
    wanted = dtype or _SUM_DTYPES.get(x.type.dtype, x.type.dtype)
    return f.reduce_prod(b, f.cast(b, x, wanted), axis, keepdims)


@keras_class("numpy", "axis keepdims")
@operation
def mean(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Value:
    """The mean over the axes (None: all); a float."""
    return f.mean(b, to_float(b, x), axis, keepdims)


@keras_class("numpy", "axis keepdims")
@operation
def var(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Value:
    """The biased variance (divided by the number of elements), in two passes."""
    return f.variance(b, to_float(b, x), axis, keepdims)


@keras_class("numpy", "axis keepdims")
@operation
def std(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Value:
    """The square root of the biased variance."""
    return f.sqrt(b, f.variance(b, to_float(b, x), axis, keepdims))


@keras_class("numpy", "axis keepdims initial")
@operation
def max(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Value:
    """The greatest element (and not below `initial`); NaN if there is one."""
    result = f.reduce_max(b, x, axis, keepdims)
    return result if initial is None else f.maximum(b, result, initial)


@keras_class("numpy", "axis keepdims initial")
@operation
def min(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Value:
    """The smallest element (and not above `initial`); NaN if there is one."""
    result = f.reduce_min(b, x, axis, keepdims)
    return result if initial is None else f.minimum(b, result, initial)


@keras_class("numpy", "axis keepdims")
@operation
def amax(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Value:
    """The greatest element."""
    return f.reduce_max(b, x, axis, keepdims)


@keras_class("numpy", "axis keepdims")
@operation
def amin(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Value:
    """The smallest element."""
    return f.reduce_min(b, x, axis, keepdims)


@keras_class("numpy", "axis keepdims")
@operation
def argmax(b: Builder, x: Tensor, axis: int | None = None, keepdims: bool = False) -> Value:
    """The index (int32) of the first greatest element; None: in the flattened tensor."""
    return f.cast(b, f.argmax(b, x, axis, keepdims), "int32")


@keras_class("numpy", "axis keepdims")
@operation
def argmin(b: Builder, x: Tensor, axis: int | None = None, keepdims: bool = False) -> Value:
    """The index (int32) of the first smallest element; None: in the flattened tensor."""
    return f.cast(b, f.argmin(b, x, axis, keepdims), "int32")


@keras_class("numpy", "axis keepdims")
@operation
def all(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Value:
    """Whether all elements are true (not zero)."""
    return f.all_(b, x, axis, keepdims)


@keras_class("numpy", "axis keepdims")
@operation
def any(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Value:
    """Whether any element is true (not zero)."""
    return f.any_(b, x, axis, keepdims)


@keras_class("numpy", "axis")
@operation
def count_nonzero(b: Builder, x: Tensor, axis: Axis = None) -> Value:
    """How many elements (int32) are not zero."""
    return f.reduce_sum(b, f.cast(b, f.not_equal(b, x, 0), "int32"), axis)


@keras_class("math", "axis keepdims")
@operation
def logsumexp(b: Builder, x: Tensor, axis: Axis = None, keepdims: bool = False) -> Value:
    """log(sum(exp(x))) over the axes, without overflow."""
    return f.logsumexp(b, to_float(b, x), axis, keepdims)


@keras_class("numpy", "axis")
@operation
def average(b: Builder, x: Tensor, axis: Axis = None, weights: Tensor = None) -> Value:
    """The mean over the axes, weighted if weights are given."""
    x = to_float(b, x)
    if weights is None:
        return f.mean(b, x, axis, False)
    weights = f.cast(b, weights, x.type.dtype)
    if weights.type.rank == 1 and x.type.rank > 1 and isinstance(axis, int):
        place = f.normalize_axis(axis, x.type.rank)
        weights = f.reshape(b, weights, [-1 if i == place else 1 for i in range(x.type.rank)])
    weights = f.broadcast_to(b, weights, x.type.shape)
    total = f.reduce_sum(b, f.multiply(b, x, weights), axis, False)
    return f.divide(b, total, f.reduce_sum(b, weights, axis, False))


@keras_class("linalg", "ord axis keepdims")
@operation
def norm(b: Builder, x: Tensor, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Value:
    """A vector norm over one axis, or the Frobenius norm over several (None: all).

    Raises:
        ValueError: for matrix norms other than Frobenius's.
    """
    x = to_float(b, x)
    axes = f.normalize_axes(axis, x.type.rank)
    if ord in (None, "fro") or (ord == 2 and len(axes) == 1):
        return f.sqrt(b, f.reduce_sum(b, f.square(b, x), axes, keepdims))
    if len(axes) != 1:
        raise ValueError(f"ops.norm: over several axes `ord` must be None or 'fro'. Received: ord={ord!r}")
    size = f.absolute(b, x)
    if ord == 1:
        return f.reduce_sum(b, size, axes, keepdims)
    if ord == float("inf"):
        return f.reduce_max(b, size, axes, keepdims)
    if ord == float("-inf"):
        return f.reduce_min(b, size, axes, keepdims)
    if ord == 0:
        return f.reduce_sum(b, f.cast(b, f.not_equal(b, x, 0), x.type.dtype), axes, keepdims)
    if not isinstance(ord, (int, float)):
        raise ValueError(f"ops.norm: `ord` must be a number, 'fro' or None. Received: ord={ord!r}")
    return f.power(b, f.reduce_sum(b, f.power(b, size, ord), axes, keepdims), 1 / ord)


@keras_class("numpy", "axis dtype")
@operation
def cumsum(b: Builder, x: Tensor, axis: int | None = None, dtype: Any = None) -> Value:
    """Sums of the elements up to each one along an axis (None: of the flattened tensor).

    Doubling strides (Hillis and Steele 1986): log2(extent) additions of the whole tensor. Where the extent is
    symbolic, a recurrence.
    """
    x = f.cast(b, x, dtype or {"bool": "int32"}.get(x.type.dtype, x.type.dtype))
    return _accumulate(b, x, axis, "cumsum", f.add, 0)


@keras_class("numpy", "axis dtype")
@operation
def cumprod(b: Builder, x: Tensor, axis: int | None = None, dtype: Any = None) -> Value:
    """Products of the elements up to each one along an axis; see `cumsum`."""
    x = f.cast(b, x, dtype or {"bool": "int32"}.get(x.type.dtype, x.type.dtype))
    return _accumulate(b, x, axis, "cumprod", f.multiply, 1)


def _accumulate(b: Builder, x: Value, axis: int | None, name: str, combine: _Combine, neutral: int) -> Value:
    if axis is None:
        x, axis = f.reshape(b, x, (-1,)), 0
    axis = f.normalize_axis(axis, x.type.rank)
    extent = x.type.shape[axis]
    if not isinstance(extent, int):
        return _accumulate_step_by_step(b, x, axis, name, combine, neutral)
    step = 1
    while step < extent:
        low = [step if i == axis else 0 for i in range(x.type.rank)]
        shifted = f.pad(b, f.slice_axis(b, x, axis, 0, extent - step), low, [0] * x.type.rank, neutral)
        x = combine(b, x, shifted)
        step *= 2
    return x


def _accumulate_step_by_step(b: Builder, x: Value, axis: int, name: str, combine: _Combine, neutral: int) -> Value:
    order = (axis, *(i for i in range(x.type.rank) if i != axis))
    entries = f.transpose(b, x, order)
    entry = entries.type.with_shape(*entries.type.shape[1:])
    body = Builder(name)
    state, own = body.input("total", entry), body.input("entry", entry)
    body.output("total", combine(body, state, own))
    start = f.full(b, entry.shape, neutral, entry.dtype)
    (totals,) = f.scan(b, body.build(), [start], [entries]).after
    back = tuple(order.index(i) for i in range(x.type.rank))
    return f.transpose(b, totals, back)


def float_type(x: Value) -> str:
    """x's element type if it is a float, else `floatx()`."""
    return x.type.dtype if is_float(x.type.dtype) else settings.floatx()
