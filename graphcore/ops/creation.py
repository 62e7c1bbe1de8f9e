"""Tensors that come from no tensor, and triangular masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler import functions as f
from compiler.ir import Builder, Value
from graphcore.dtype_policies import standardize_dtype
from graphcore.ops.dispatch import Tensor, Tensors, operation
from graphcore.ops.keras_class import keras_class
from runtime.dimensions import SymbolicInt


def _shape(shape: Any) -> tuple[Any, ...]:
    return tuple(shape) if isinstance(shape, (list, tuple)) else (shape,)


@operation
def zeros(b: Builder, shape: Any, dtype: Any = None) -> Value:
    """Zeros; `floatx()` by default."""
    return f.full(b, _shape(shape), 0, standardize_dtype(dtype))


@operation
def ones(b: Builder, shape: Any, dtype: Any = None) -> Value:
    """Ones; `floatx()` by default."""
    return f.full(b, _shape(shape), 1, standardize_dtype(dtype))


@operation
def empty(b: Builder, shape: Any, dtype: Any = None) -> Value:
    """Zeros: a compiled program has no uninitialised tensors."""
    return f.full(b, _shape(shape), 0, standardize_dtype(dtype))


@keras_class("numpy", "shape dtype")
@operation
def full(b: Builder, shape: Any, fill_value: Tensor, dtype: Any = None) -> Value:
    """One value everywhere; it may be a tensor that broadcasts to the shape."""
    value = f.cast(b, fill_value, fill_value.type.dtype if dtype is None else standardize_dtype(dtype))
    return f.broadcast_to(b, value, _shape(shape))


@keras_class("numpy", "dtype")
@operation
def zeros_like(b: Builder, x: Tensor, dtype: Any = None) -> Value:
    """Zeros of x's shape, and its type unless given."""
    return f.full(b, x.type.shape, 0, x.type.dtype if dtype is None else standardize_dtype(dtype))


@keras_class("numpy", "dtype")
@operation
def ones_like(b: Builder, x: Tensor, dtype: Any = None) -> Value:
    """Ones of x's shape, and its type unless given."""
    return f.full(b, x.type.shape, 1, x.type.dtype if dtype is None else standardize_dtype(dtype))


@keras_class("numpy", "dtype")
@operation
def full_like(b: Builder, x: Tensor, fill_value: Any, dtype: Any = None) -> Value:
    """One number everywhere, of x's shape, and its type unless given."""
    return f.full(b, x.type.shape, fill_value, x.type.dtype if dtype is None else standardize_dtype(dtype))


@keras_class("numpy", "dtype")
@operation
def arange(b: Builder, start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Value:
    """start, start + step, ... below stop; one argument alone is the stop. The stop may be a symbolic size."""
    given = None if dtype is None else standardize_dtype(dtype)
    if any(isinstance(number, SymbolicInt) for number in (start, stop, step)):
        first, last = (0, start) if stop is None else (start, stop)
        if isinstance(step, SymbolicInt) or step < 1:
            raise ValueError(f"ops.arange: with a symbolic size the step must be a positive integer. Received: {step}")
        count = (last - first + (step - 1)) // step
        ramp = f.iota(b, (count,), 0, given or "int32")
        ramp = ramp if step == 1 else f.multiply(b, ramp, step)
        return ramp if isinstance(first, int) and first == 0 else f.add(b, ramp, f.dimension(b, first, ramp.type.dtype))
    if given is None and any(isinstance(number, float) for number in (start, stop, step)):
        given = standardize_dtype(None)
    first, last = (0, start) if stop is None else (start, stop)
    if (first, step) == (0, 1) and isinstance(last, int) and (given or "int32") == "int32":
        return f.iota(b, (max(last, 0),), 0, "int32")
    return f.constant(b, np.arange(first, last, step, dtype=given or "int32"))


@keras_class("numpy", "num endpoint retstep dtype axis")
@operation
def linspace(
    b: Builder,
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` evenly spaced numbers from start to stop; the bounds are numbers or lists of them, not tensors.

    With lists, `axis` is that of the result on which the numbers from one bound to the other lie.
    """
    values, step = np.linspace(start, stop, num, endpoint=endpoint, retstep=True, dtype=np.float64, axis=axis)
    result = f.constant(b, values.astype(standardize_dtype(dtype)))
    return (result, step) if retstep else result


@operation
def eye(b: Builder, N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Value:  # noqa: N803 (Keras's)
    """Ones on a diagonal, zeros elsewhere."""
    return f.cast(b, _below(b, (N, M or N), k, f.equal), standardize_dtype(dtype))


@operation
def identity(b: Builder, n: int, dtype: Any = None) -> Value:
    """The identity matrix."""
    return f.cast(b, _below(b, (n, n), 0, f.equal), standardize_dtype(dtype))


@operation
def tri(b: Builder, N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Value:  # noqa: N803 (Keras's)
    """Ones on and below a diagonal."""
    return f.cast(b, _below(b, (N, M or N), k, f.less_equal), standardize_dtype(dtype))


@keras_class("numpy", "k")
@operation
def tril(b: Builder, x: Tensor, k: int = 0) -> Value:
    """Matrices with what is above a diagonal set to 0."""
    return f.where(b, _below(b, x.type.shape[-2:], k, f.less_equal), x, 0)


@keras_class("numpy", "k")
@operation
def triu(b: Builder, x: Tensor, k: int = 0) -> Value:
    """Matrices with what is below a diagonal set to 0."""
    return f.where(b, _below(b, x.type.shape[-2:], k, f.greater_equal), x, 0)


def _below(b: Builder, shape: tuple[Any, ...], k: int, compare: Any) -> Value:
    """Where column - row compares with k."""
    row, column = f.iota(b, shape, 0, "int32"), f.iota(b, shape, 1, "int32")
    result: Value = compare(b, f.subtract(b, column, row), k)
    return result


@keras_class("numpy", "indexing", operands="xs")
@operation
def _meshgrid(b: Builder, xs: Tensors, indexing: str) -> list[Value]:
    """One matrix per vector, constant along the axes of the others."""
    values = [f.reshape(b, value, (-1,)) for value in xs]
    swap = indexing == "xy" and len(values) > 1
    places = [1, 0, *range(2, len(values))] if swap else list(range(len(values)))
    shape: list[Any] = [0] * len(values)
    for value, place in zip(values, places, strict=True):
        shape[place] = value.type.shape[0]
    return [f.broadcast_in(b, value, shape, (place,)) for value, place in zip(values, places, strict=True)]


def meshgrid(*x: Any, indexing: str = "xy") -> Any:
    """Coordinate matrices of coordinate vectors.

    Raises:
        ValueError: if `indexing` is neither 'xy' nor 'ij'.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"ops.meshgrid: `indexing` must be 'xy' or 'ij'. Received: {indexing!r}")
    return _meshgrid(list(x), indexing)
