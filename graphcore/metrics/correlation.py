"""Correlations between labels and predictions."""

from __future__ import annotations

from typing import Any

from graphcore import config, ops
from graphcore.losses.loss import squeeze_or_expand_to_same_rank
from graphcore.metrics.reduction import NamedMeanMetric


def _paired(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    y_pred = ops.convert_to_tensor(y_pred)
    return squeeze_or_expand_to_same_rank(ops.cast(y_true, y_pred.dtype), y_pred)


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Pearson's correlation along `axis`."""
    y_true, y_pred = _paired(y_true, y_pred)
    y_true = y_true - ops.mean(y_true, axis=axis, keepdims=True)
    y_pred = y_pred - ops.mean(y_pred, axis=axis, keepdims=True)
    y_true = y_true / ops.std(y_true, axis=axis, keepdims=True)
    y_pred = y_pred / ops.std(y_pred, axis=axis, keepdims=True)
    return ops.mean(y_true * y_pred, axis=axis)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Lin's concordance correlation along `axis`: agreement in scale and location too."""
    y_true, y_pred = _paired(y_true, y_pred)
    true_mean = ops.mean(y_true, axis=axis, keepdims=True)
    predicted_mean = ops.mean(y_pred, axis=axis, keepdims=True)
    # Keras centres both on the mean of the predictions; the mean of the product is the covariance either way.
    covariance = (y_true - predicted_mean) * (y_pred - predicted_mean)
    spread = ops.var(y_true, axis=axis, keepdims=True) + ops.var(y_pred, axis=axis, keepdims=True)
    norm = spread + ops.square(true_mean - predicted_mean)
    return ops.mean(2.0 * covariance / (norm + config.epsilon()), axis=axis)


class PearsonCorrelation(NamedMeanMetric):
    """Mean Pearson correlation along `axis`."""

    _direction = "up"

    def __init__(self, name: str = "pearson_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=axis)
        self.axis = axis


class ConcordanceCorrelation(NamedMeanMetric):
    """Mean concordance correlation along `axis`."""

    _direction = "up"

    def __init__(self, name: str = "concordance_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=axis)
        self.axis = axis
