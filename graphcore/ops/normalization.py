"""Statistics over axes and normalisation by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler import functions as f
from compiler.ir import Builder, Value
from graphcore import settings
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import to_float
from graphcore.ops.keras_class import keras_class


@keras_class("nn", "axes keepdims synchronized")
@operation
def moments(
    b: Builder, x: Tensor, axes: int | Sequence[int], keepdims: bool = False, synchronized: bool = False
) -> tuple[Value, Value]:
    """Mean and biased variance over the axes, the variance from the deviations (two passes).

    Raises:
        NotImplementedError: if `synchronized`; there is one device.
    """
    if synchronized:
        raise NotImplementedError("ops.moments: `synchronized=True` needs several devices. Fix: leave it out.")
    x = to_float(b, x)
    return f.mean(b, x, axes, keepdims), f.variance(b, x, axes, keepdims)


def _along(b: Builder, vector: Value, rank: int, axis: int) -> Value:
    """A vector as a tensor of this rank that lies along one axis."""
    if vector.type.rank != 1:
        return vector
    return f.reshape(b, vector, [-1 if i == axis else 1 for i in range(rank)])


@keras_class("nn", "axis epsilon", name="BatchNorm")
@operation
def batch_normalization(
    b: Builder,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    axis: int,
    offset: Tensor = None,
    scale: Tensor = None,
    epsilon: float = 1e-3,
) -> Value:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, with vectors along an axis.

    As in Keras the vectors are put together first: one multiplication and one addition an element.
    """
    x = to_float(b, x)
    rank, place = x.type.rank, f.normalize_axis(axis, x.type.rank)
    if any(value is not None and value.type.rank != 1 for value in (mean, variance, offset, scale)):
        given = (None if value is None else _along(b, value, rank, place) for value in (mean, variance, offset, scale))
        mean, variance, offset, scale = given
    factor = f.rsqrt(b, f.add(b, variance, epsilon))
    if scale is not None:
        factor = f.multiply(b, factor, scale)
    shift = f.negative(b, f.multiply(b, mean, factor))
    shift = shift if offset is None else f.add(b, shift, offset)
    return f.add(b, f.multiply(b, x, _along(b, factor, rank, place)), _along(b, shift, rank, place))


@operation
def normalize_by_batch(
    b: Builder, x: Tensor, axis: int, offset: Tensor = None, scale: Tensor = None, epsilon: float = 1e-3
) -> tuple[Value, Value, Value]:
    """`batch_normalization` by the mean and the biased variance of x itself, over all axes but one; and those two.

    One op, whose gradient knows that the statistics are of x.
    """
    x = to_float(b, x)
    vector = (x.type.shape[axis],)
    scale = f.full(b, vector, 1.0, x.type.dtype) if scale is None else scale
    offset = f.full(b, vector, 0.0, x.type.dtype) if offset is None else offset
    return f.batch_normalization(b, x, scale, offset, axis, epsilon)


@keras_class("nn", "axis epsilon", name="LayerNorm")
@operation
def layer_normalization(
    b: Builder,
    x: Tensor,
    gamma: Tensor = None,
    beta: Tensor = None,
    axis: int | Sequence[int] = -1,
    epsilon: float | None = None,
) -> Value:
    """Each sample brought to mean 0 and variance 1 over the axes (Ba et al. 2016), then scaled and shifted.

    float16 is computed in float32.
    """
    given = to_float(b, x)
    x = f.cast(b, given, "float32") if given.type.dtype == "float16" else given
    axes = f.normalize_axes(axis, x.type.rank)
    epsilon = settings.epsilon() if epsilon is None else epsilon
    centred = f.subtract(b, x, f.mean(b, x, axes, True))
    factor = f.rsqrt(b, f.add(b, f.variance(b, x, axes, True), epsilon))
    result = f.multiply(b, centred, factor)
    for function, vector in ((f.multiply, gamma), (f.add, beta)):
        if vector is not None:
            result = function(b, result, f.cast(b, _spread(b, vector, x, axes), x.type.dtype))
    return f.cast(b, result, given.type.dtype)


def _spread(b: Builder, vector: Value, x: Value, axes: Sequence[int]) -> Value:
    """A parameter over the given axes as a tensor of x's rank."""
    if vector.type.rank == x.type.rank:
        return vector
    return f.reshape(b, vector, [x.type.shape[i] if i in axes else 1 for i in range(x.type.rank)])


@keras_class("nn", "axis epsilon", name="RMSNorm")
@operation
def rms_normalization(
    b: Builder, x: Tensor, scale: Tensor = None, axis: int | Sequence[int] = -1, epsilon: float | None = None
) -> Value:
    """x / sqrt(mean(x^2) + epsilon) over the axes (Zhang and Sennrich 2019), then scaled."""
    given = to_float(b, x)
    x = f.cast(b, given, "float32") if given.type.dtype == "float16" else given
    axes = f.normalize_axes(axis, x.type.rank)
    epsilon = settings.epsilon() if epsilon is None else epsilon
    result = f.multiply(b, x, f.rsqrt(b, f.add(b, f.mean(b, f.square(b, x), axes, True), epsilon)))
    if scale is not None:
        result = f.multiply(b, result, f.cast(b, _spread(b, scale, x, axes), x.type.dtype))
    return f.cast(b, result, given.type.dtype)


@keras_class("nn", "axis order epsilon")
@operation
def normalize(b: Builder, x: Tensor, axis: Any = -1, order: float = 2, epsilon: float | None = None) -> Value:
    """x divided by its norm over the axes, which is taken to be at least epsilon."""
    x = to_float(b, x)
    axes = f.normalize_axes(axis, x.type.rank)
    epsilon = settings.epsilon() if epsilon is None else epsilon
    if order == 2:
        # The root of the sum cut at epsilon squared: its gradient at 0 is 0, not NaN.
        total = f.reduce_sum(b, f.square(b, x), axes, True)
        return f.multiply(b, x, f.rsqrt(b, f.maximum(b, total, epsilon**2)))
    size = f.absolute(b, x)
    if order == float("inf"):
        length = f.reduce_max(b, size, axes, True)
    elif order == 1:
        length = f.reduce_sum(b, size, axes, True)
    else:
        length = f.power(b, f.reduce_sum(b, f.power(b, size, order), axes, True), 1 / order)
    return f.divide(b, x, f.maximum(b, length, epsilon))
