"""Tensors that come from numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.functions.core import Scalar, emit, full
from compiler.functions.elementwise import add, multiply
from compiler.ir import Array, Builder, Value
from compiler.types import is_float
from runtime.dimensions import Dim


def zeros_like(b: Builder, x: Value) -> Value:
    """Zeros of x's type."""
    return full(b, x.type.shape, 0, x.type.dtype)


def ones_like(b: Builder, x: Value) -> Value:
    """Ones of x's type."""
    return full(b, x.type.shape, 1, x.type.dtype)


def full_like(b: Builder, x: Value, value: Scalar) -> Value:
    """One number everywhere, of x's type."""
    return full(b, x.type.shape, value, x.type.dtype)


def iota(b: Builder, shape: Sequence[Dim], axis: int = 0, dtype: str = "int64") -> Value:
    """Every element is its own index along the axis."""
    return emit(b, "iota", shape=tuple(shape), axis=axis, dtype=dtype)


def dimension(b: Builder, dim: Dim, dtype: str = "int64") -> Value:
    """A size as a scalar tensor; a literal if it is known."""
    if isinstance(dim, int):
        return full(b, (), dim, dtype)
    return emit(b, "dimension", extent=dim, dtype=dtype)


def arange(b: Builder, start: Scalar, stop: Scalar | None = None, step: Scalar = 1, dtype: str | None = None) -> Value:
    """start, start + step, ... below stop (above it if step < 0); one number alone is the stop."""
    start, stop = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise ValueError(f"arange: step must not be 0. Received: start={start}, stop={stop}, step=0")
    floats = any(isinstance(number, float) for number in (start, stop, step))
    dtype = dtype or ("float32" if floats else "int32")
    count = max(0, int(np.ceil((stop - start) / step)))
    # The ramp is counted in the result's dtype only if that is an integer: float64 keeps long ramps exact.
    ramp = iota(b, (count,), 0, "float64" if is_float(dtype) else dtype)
    values = add(b, multiply(b, ramp, step), start)
    return values if values.type.dtype == dtype else emit(b, "cast", values, dtype=dtype)


def constant(b: Builder, array: Array | Scalar, dtype: str | None = None) -> Value:
    """A literal array; one that holds a single repeated value becomes a `full`."""
    data = np.asarray(array, dtype)
    if data.size and (data == data.flat[0]).all():
        return full(b, data.shape, data.flat[0].item(), data.dtype.name)
    return emit(b, "constant", array=data)
