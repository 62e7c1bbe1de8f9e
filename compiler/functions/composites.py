"""Tensor ops that decompose into primitives: statistics, activations, normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.functions.core import cast, emit, make, normalize_axes, normalize_axis
from compiler.functions.elementwise import as_float
from compiler.functions.reductions import Axes, keep_axes
from compiler.ir import Builder, Value
from compiler.types import is_float
from runtime.dimensions import Dim


def _statistic(b: Builder, name: str, x: Value, axes: Axes, keepdims: bool) -> Value:
    x = as_float(b, x)
    chosen = normalize_axes(axes, x.type.rank)
    result = emit(b, name, x, axes=chosen)
    return keep_axes(b, result, x, chosen) if keepdims else result


def mean(b: Builder, x: Value, axes: Axes = None, keepdims: bool = False) -> Value:
    """The mean; integers are averaged as the default float dtype."""
    return _statistic(b, "mean", x, axes, keepdims)


def variance(b: Builder, x: Value, axes: Axes = None, keepdims: bool = False) -> Value:
    """The biased variance, by two passes."""
    return _statistic(b, "variance", x, axes, keepdims)


def logsumexp(b: Builder, x: Value, axes: Axes = None, keepdims: bool = False) -> Value:
    """log of the sum of e ** x, without overflow."""
    return _statistic(b, "log_sum_exp", x, axes, keepdims)


def softmax(b: Builder, x: Value, axis: int = -1) -> Value:
    """e ** x divided by its sum along the axis."""
    x = as_float(b, x)
    return emit(b, "softmax", x, axis=normalize_axis(axis, x.type.rank))


def log_softmax(b: Builder, x: Value, axis: int = -1) -> Value:
    """The logarithm of the softmax along the axis."""
    x = as_float(b, x)
    return emit(b, "log_softmax", x, axis=normalize_axis(axis, x.type.rank))


def gelu(b: Builder, x: Value, approximate: bool = False) -> Value:
    """x times the normal distribution function at x; `approximate` uses a tanh."""
    return emit(b, "gelu", as_float(b, x), approximate=approximate)


def silu(b: Builder, x: Value) -> Value:
    """x sigmoid(x)."""
    return emit(b, "silu", as_float(b, x))


def softplus(b: Builder, x: Value) -> Value:
    """log(1 + e ** x)."""
    return emit(b, "softplus", as_float(b, x))


def softsign(b: Builder, x: Value) -> Value:
    """x / (1 + |x|)."""
    return emit(b, "softsign", as_float(b, x))


def elu(b: Builder, x: Value, alpha: float = 1.0) -> Value:
    """x above 0, alpha (e ** x - 1) below."""
    return emit(b, "elu", as_float(b, x), alpha=alpha)


def selu(b: Builder, x: Value) -> Value:
    """The self-normalising ELU."""
    return emit(b, "selu", as_float(b, x))


def leaky_relu(b: Builder, x: Value, slope: float = 0.2) -> Value:
    """x from 0 up, slope x below."""
    return emit(b, "leaky_relu", as_float(b, x), slope=slope)


def hard_sigmoid(b: Builder, x: Value) -> Value:
    """x / 6 + 1/2, cut to 0..1."""
    return emit(b, "hard_sigmoid", as_float(b, x))


def one_hot(b: Builder, x: Value, depth: Dim, dtype: str = "float32", axis: int = -1) -> Value:
    """1 at each index along a new axis, else 0; indices outside give zeros. Floats are truncated first."""
    indices = cast(b, x, "int64") if is_float(x.type.dtype) or x.type.dtype == "bool" else x
    return emit(b, "one_hot", indices, depth=depth, axis=normalize_axis(axis, x.type.rank + 1), dtype=dtype)


def upsample_nearest(b: Builder, x: Value, factors: Sequence[int]) -> Value:
    """[batch, *spatial, channels] with every pixel repeated."""
    return emit(b, "upsample_nearest", x, factors=tuple(factors))


def batch_normalization(
    b: Builder, x: Value, gamma: Value, beta: Value, axis: int = -1, epsilon: float = 1e-3
) -> tuple[Value, Value, Value]:
    """y, mean and biased variance with the statistics of this batch."""
    op = make("batch_normalization", axis=normalize_axis(axis, x.type.rank), epsilon=epsilon)
    y, average, spread_ = b.emit_all(op, x, gamma, beta)
    return y, average, spread_


def normalize_with(
    b: Builder,
    x: Value,
    average: Value,
    variance_: Value,
    gamma: Value,
    beta: Value,
    axis: int = -1,
    epsilon: float = 1e-3,
) -> Value:
    """y with given statistics."""
    axis = normalize_axis(axis, x.type.rank)
    return emit(b, "normalize_with", x, average, variance_, gamma, beta, axis=axis, epsilon=epsilon)


def layer_normalization(
    b: Builder, x: Value, gamma: Value, beta: Value, axes: Axes = -1, epsilon: float = 1e-3
) -> Value:
    """y with the statistics of each sample over the axes, which gamma and beta have too."""
    chosen = normalize_axes(axes, x.type.rank)
    return emit(b, "layer_normalization", x, gamma, beta, axes=chosen, epsilon=epsilon)
