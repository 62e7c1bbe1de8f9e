"""Activation functions: `keras.ops` names and defaults (some differ from the layers of the same name)."""

from __future__ import annotations

from collections.abc import Sequence

from compiler import functions as f
from compiler.ir import Builder, Value
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import to_float
from graphcore.ops.keras_class import keras_class


@keras_class("nn")
@operation
def relu(b: Builder, x: Tensor) -> Value:
    """max(x, 0)."""
    return f.relu(b, x)


@keras_class("nn")
@operation
def relu6(b: Builder, x: Tensor) -> Value:
    """min(max(x, 0), 6)."""
    return f.minimum(b, f.relu(b, x), 6)


@keras_class("nn")
@operation
def sigmoid(b: Builder, x: Tensor) -> Value:
    """1 / (1 + exp(-x))."""
    return f.sigmoid(b, to_float(b, x))


@keras_class("nn")
@operation
def log_sigmoid(b: Builder, x: Tensor) -> Value:
    """log(sigmoid(x)), without overflow."""
    return f.negative(b, f.softplus(b, f.negative(b, to_float(b, x))))


@keras_class("nn")
@operation
def softplus(b: Builder, x: Tensor) -> Value:
    """log(1 + exp(x)), without overflow."""
    return f.softplus(b, to_float(b, x))


@keras_class("nn")
@operation
def softsign(b: Builder, x: Tensor) -> Value:
    """x / (1 + |x|)."""
    return f.softsign(b, to_float(b, x))


@keras_class("nn")
@operation
def silu(b: Builder, x: Tensor) -> Value:
    """x sigmoid(x)."""
    return f.silu(b, to_float(b, x))


@keras_class("nn", name="Silu")
@operation
def swish(b: Builder, x: Tensor) -> Value:
    """x sigmoid(x)."""
    return f.silu(b, to_float(b, x))


@keras_class("nn", "negative_slope")
@operation
def leaky_relu(b: Builder, x: Tensor, negative_slope: float = 0.2) -> Value:
    """x above 0, negative_slope x below."""
    return f.leaky_relu(b, to_float(b, x), float(negative_slope))


@keras_class("nn")
@operation
def hard_sigmoid(b: Builder, x: Tensor) -> Value:
    """x / 6 + 1/2, cut to [0, 1]."""
    return f.hard_sigmoid(b, to_float(b, x))


@keras_class("nn")
@operation
def hard_silu(b: Builder, x: Tensor) -> Value:
    """x hard_sigmoid(x)."""
    x = to_float(b, x)
    return f.multiply(b, x, f.hard_sigmoid(b, x))


@keras_class("nn", name="HardSilu")
@operation
def hard_swish(b: Builder, x: Tensor) -> Value:
    """x hard_sigmoid(x)."""
    x = to_float(b, x)
    return f.multiply(b, x, f.hard_sigmoid(b, x))


@keras_class("nn", "alpha")
@operation
def elu(b: Builder, x: Tensor, alpha: float = 1.0) -> Value:
    """x above 0, alpha (exp(x) - 1) below."""
    return f.elu(b, to_float(b, x), float(alpha))


@keras_class("nn")
@operation
def selu(b: Builder, x: Tensor) -> Value:
    """Scaled ELU (Klambauer et al. 2017)."""
    return f.selu(b, to_float(b, x))


@keras_class("nn", "alpha")
@operation
def celu(b: Builder, x: Tensor, alpha: float = 1.0) -> Value:
    """max(x, 0) + min(0, alpha (exp(x / alpha) - 1))."""
    x = to_float(b, x)
    below = f.multiply(b, f.expm1(b, f.divide(b, f.minimum(b, x, 0), alpha)), alpha)
    return f.add(b, f.maximum(b, x, 0), below)


@keras_class("nn", "approximate")
@operation
def gelu(b: Builder, x: Tensor, approximate: bool = True) -> Value:
    """x times the normal distribution function at x (Hendrycks and Gimpel 2016); by default its tanh form."""
    return f.gelu(b, to_float(b, x), approximate)


@keras_class("nn", "axis")
@operation
def glu(b: Builder, x: Tensor, axis: int = -1) -> Value:
    """One half of an axis times the sigmoid of the other."""
    first, second = f.split(b, to_float(b, x), 2, axis)
    return f.multiply(b, first, f.sigmoid(b, second))


@keras_class("nn")
@operation
def hard_tanh(b: Builder, x: Tensor) -> Value:
    """x, cut to [-1, 1]."""
    return f.minimum(b, f.maximum(b, x, -1), 1)


@keras_class("nn", "threshold")
@operation
def hard_shrink(b: Builder, x: Tensor, threshold: float = 0.5) -> Value:
    """x where |x| > threshold, else 0."""
    return f.where(b, f.greater(b, f.absolute(b, x), threshold), x, 0)


@keras_class("nn", "threshold")
@operation
def soft_shrink(b: Builder, x: Tensor, threshold: float = 0.5) -> Value:
    """x moved towards 0 by threshold, and 0 closer to it."""
    above, below = f.greater(b, x, threshold), f.less(b, x, -threshold)
    return f.where(b, above, f.subtract(b, x, threshold), f.where(b, below, f.add(b, x, threshold), 0))


@keras_class("nn")
@operation
def tanh_shrink(b: Builder, x: Tensor) -> Value:
    """x - tanh(x)."""
    x = to_float(b, x)
    return f.subtract(b, x, f.tanh(b, x))


@keras_class("nn", "b")
@operation
def squareplus(builder: Builder, x: Tensor, b: float = 4) -> Value:
    """(x + sqrt(x^2 + b)) / 2."""
    x = to_float(builder, x)
    root = f.sqrt(builder, f.add(builder, f.square(builder, x), b))
    return f.multiply(builder, f.add(builder, x, root), 0.5)


@keras_class("nn")
@operation
def sparse_plus(b: Builder, x: Tensor) -> Value:
    """0 below -1, (x + 1)^2 / 4 up to 1, then x."""
    x = to_float(b, x)
    middle = f.multiply(b, f.square(b, f.add(b, x, 1)), 0.25)
    return f.where(b, f.less_equal(b, x, -1), 0, f.where(b, f.less(b, x, 1), middle, x))


@keras_class("nn")
@operation
def sparse_sigmoid(b: Builder, x: Tensor) -> Value:
    """0 below -1, (x + 1) / 2 up to 1, then 1."""
    return f.minimum(b, f.maximum(b, f.multiply(b, f.add(b, to_float(b, x), 1), 0.5), 0), 1)


@keras_class("nn", "threshold default_value")
@operation
def threshold(b: Builder, x: Tensor, threshold: float, default_value: float) -> Value:
    """x where it is above the threshold, else the default value."""
    return f.where(b, f.greater(b, x, threshold), x, default_value)


@keras_class("nn", "axis")
@operation
def softmax(b: Builder, x: Tensor, axis: int | Sequence[int] | None = -1) -> Value:
    """exp(x) / sum(exp(x)) over an axis, several, or (None) all."""
    return _over(b, f.softmax, to_float(b, x), axis)


@keras_class("nn", "axis")
@operation
def log_softmax(b: Builder, x: Tensor, axis: int | Sequence[int] | None = -1) -> Value:
    """x - log(sum(exp(x))) over an axis, several, or (None) all."""
    return _over(b, f.log_softmax, to_float(b, x), axis)


def _over(b: Builder, function: object, x: Value, axis: int | Sequence[int] | None) -> Value:
    """A function of one axis applied to several at once, by joining them."""
    if isinstance(axis, int):
        return function(b, x, axis)  # type: ignore[operator, no-any-return]
    axes = f.normalize_axes(axis, x.type.rank)
    kept = [i for i in range(x.type.rank) if i not in axes]
    moved = f.transpose(b, x, [*kept, *axes])
    joined = f.reshape(b, moved, [*moved.type.shape[: len(kept)], -1])
    result = f.reshape(b, function(b, joined, -1), moved.type.shape)  # type: ignore[operator]
    order = [*kept, *axes]
    return f.transpose(b, result, [order.index(i) for i in range(x.type.rank)])
