"""The activation functions of Keras; tensors keep their shape unless a function says otherwise."""

from __future__ import annotations

from typing import Any

from graphcore import ops


def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """Rectified linear unit: `max(x, 0)` with the default arguments.

    Args:
        x: tensor.
        negative_slope: slope below `threshold`.
        max_value: largest output; None is no limit.
        threshold: outputs are 0 (or on the negative slope) at and below it.
    """
    negative_part = None
    if negative_slope != 0.0:
        if max_value is None and threshold == 0:
            return ops.leaky_relu(x, negative_slope=negative_slope)
        negative_part = ops.relu(threshold - x if threshold != 0 else -x)
    result = ops.where(ops.greater(x, threshold), x, 0) if threshold != 0 else ops.relu(x)
    if max_value is not None:
        result = ops.minimum(result, max_value)
    if negative_part is not None:
        result = result - negative_slope * negative_part
    return result


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """`x` where it is positive, `negative_slope·x` elsewhere."""
    return ops.leaky_relu(x, negative_slope=negative_slope)


def relu6(x: Any) -> Any:
    """`min(max(x, 0), 6)`."""
    return ops.relu6(x)


def softmax(x: Any, axis: int = -1) -> Any:
    """Probabilities: `exp(x)` divided by its sum over `axis`."""
    return ops.softmax(x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Logarithm of `softmax`, computed without overflow."""
    return ops.log_softmax(x, axis=axis)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """The probabilities over `axis` nearest to `x`, many of them 0 (Martins and Astudillo, 2016).

    Which entries are not 0 is found by comparing each with each other along the axis. Keras 3.15 adds up the
    cumulative sums in place of the sum over these entries, so its results do not sum to 1; these do.
    """
    x = ops.moveaxis(x, axis, -1)
    one, other = ops.expand_dims(x, -1), ops.expand_dims(x, -2)
    not_less = ops.cast(ops.greater_equal(other, one), x.dtype)
    count, total = ops.sum(not_less, axis=-1), ops.sum(not_less * other, axis=-1)
    support = ops.cast(ops.greater(1.0 + count * x, total), x.dtype)
    excess = ops.sum(support * x, axis=-1, keepdims=True) - 1.0
    threshold = excess / ops.sum(support, axis=-1, keepdims=True)
    return ops.moveaxis(ops.relu(x - threshold), -1, axis)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """`x` where it is positive, `alpha·(exp(x) - 1)` elsewhere (Clevert et al., 2016)."""
    return ops.elu(x, alpha=alpha)


def selu(x: Any) -> Any:
    """Scaled ELU: scale 1.05070098, alpha 1.67326324 (Klambauer et al., 2017)."""
    return ops.selu(x)


def celu(x: Any, alpha: float = 1.0) -> Any:
    """`max(x, 0) + min(alpha·(exp(x / alpha) - 1), 0)` (Barron, 2017)."""
    return ops.celu(x, alpha=alpha)


def glu(x: Any, axis: int = -1) -> Any:
    """First half of `axis` times the sigmoid of the second (Dauphin et al., 2017); `axis` is halved."""
    return ops.glu(x, axis=axis)


def softplus(x: Any) -> Any:
    """`log(exp(x) + 1)`."""
    return ops.softplus(x)


def softsign(x: Any) -> Any:
    """`x / (|x| + 1)`."""
    return ops.softsign(x)


def squareplus(x: Any, b: float = 4) -> Any:
    """`(x + sqrt(x² + b)) / 2` (Barron, 2021)."""
    return ops.squareplus(x, b)


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """`x` moved towards 0 by `threshold`, 0 within ±threshold."""
    return ops.soft_shrink(x, threshold=threshold)


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """`x` outside ±threshold, 0 within."""
    return ops.hard_shrink(x, threshold=threshold)


def tanh_shrink(x: Any) -> Any:
    """`x - tanh(x)`."""
    return ops.tanh_shrink(x)


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """`x` where it is above `threshold`, `default_value` elsewhere."""
    return ops.threshold(x, threshold, default_value)


def silu(x: Any) -> Any:
    """`x·sigmoid(x)`, also called swish (Ramachandran et al., 2017)."""
    return ops.silu(x)


def gelu(x: Any, approximate: bool = False) -> Any:
    """`x·P(X <= x)` for a standard normal X; `approximate` uses tanh (Hendrycks and Gimpel, 2016)."""
    return ops.gelu(x, approximate=approximate)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return ops.tanh(x)


def hard_tanh(x: Any) -> Any:
    """`x` cut to [-1, 1]."""
    return ops.hard_tanh(x)


def sigmoid(x: Any) -> Any:
    """`1 / (1 + exp(-x))`."""
    return ops.sigmoid(x)


def hard_sigmoid(x: Any) -> Any:
    """`x/6 + 1/2` cut to [0, 1]."""
    return ops.hard_sigmoid(x)


def log_sigmoid(x: Any) -> Any:
    """Logarithm of the sigmoid, computed without overflow."""
    return ops.log_sigmoid(x)


def sparse_sigmoid(x: Any) -> Any:
    """0 below -1, 1 above 1, `(x + 1)/2` between."""
    return ops.sparse_sigmoid(x)


def sparse_plus(x: Any) -> Any:
    """0 below -1, `x` above 1, `(x + 1)²/4` between."""
    return ops.sparse_plus(x)


def hard_silu(x: Any) -> Any:
    """`x·hard_sigmoid(x)`, also called hard swish (Howard et al., 2019)."""
    return ops.hard_silu(x)


def exponential(x: Any) -> Any:
    """`exp(x)`."""
    return ops.exp(x)


def mish(x: Any) -> Any:
    """`x·tanh(softplus(x))` (Misra, 2019)."""
    return x * ops.tanh(ops.softplus(x))


def linear(x: Any) -> Any:
    """`x` itself."""
    return x
