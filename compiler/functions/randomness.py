"""Random tensors from a state uint32[2] of seed and counter; the caller advances the counter."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.functions.core import emit
from compiler.functions.elementwise import as_float
from compiler.ir import Builder, Value
from runtime.dimensions import Dim


def random_bits(b: Builder, state: Value, shape: Sequence[Dim]) -> Value:
    """Uniform 32-bit words."""
    return emit(b, "random_bits", state, shape=tuple(shape))


def random_uniform(
    b: Builder, state: Value, shape: Sequence[Dim], low: float = 0.0, high: float = 1.0, dtype: str = "float32"
) -> Value:
    """Numbers evenly spread over [low, high)."""
    return emit(b, "random_uniform", state, shape=tuple(shape), dtype=dtype, low=low, high=high)


def random_normal(
    b: Builder, state: Value, shape: Sequence[Dim], mean: float = 0.0, stddev: float = 1.0, dtype: str = "float32"
) -> Value:
    """Numbers of the normal distribution."""
    return emit(b, "random_normal", state, shape=tuple(shape), dtype=dtype, mean=mean, stddev=stddev)


def dropout(b: Builder, x: Value, state: Value, rate: float, mask_shape: Sequence[Dim] | None = None) -> Value:
    """x / (1 - rate) with probability 1 - rate, else 0."""
    mask = None if mask_shape is None else tuple(mask_shape)
    return emit(b, "dropout", as_float(b, x), state, rate=rate, mask_shape=mask)
