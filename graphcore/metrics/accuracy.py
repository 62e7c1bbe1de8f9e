"""How often predictions match labels. Functions give 1.0 or 0.0 for each sample (or finer)."""

from __future__ import annotations

from typing import Any

from graphcore import config, ops
from graphcore.losses.loss import squeeze_or_expand_to_same_rank
from graphcore.metrics.reduction import NamedMeanMetric


def _matches(one: Any, other: Any) -> Any:
    return ops.cast(ops.equal(one, other), config.floatx())


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1.0 where `y_pred` equals `y_true`."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true, y_pred = squeeze_or_expand_to_same_rank(ops.cast(y_true, y_pred.dtype), y_pred)
    return _matches(y_true, y_pred)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1.0 where `y_pred > threshold` agrees with the label."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
    return _matches(y_true, ops.cast(ops.greater(y_pred, threshold), y_true.dtype))


def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1.0 where the largest entries of `y_true` (one-hot) and `y_pred` on the last axis are at one place."""
    return _matches(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1.0 where the largest entry of `y_pred` is at the place that `y_true` names.

    `y_true` holds class numbers, shape (batch, ...) or (batch, ..., 1).
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    matches = _matches(y_true, ops.cast(ops.argmax(y_pred, axis=-1), y_true.dtype))
    if len(matches.shape) > 1 and matches.shape[-1] == 1:
        matches = ops.squeeze(matches, -1)
    return matches


def _in_top_k(labels: Any, y_pred: Any, k: int) -> Any:
    """1.0 where fewer than `k` classes have a higher score than the label's class; labels are int32."""
    at_label = ops.take_along_axis(y_pred, ops.expand_dims(labels, -1), axis=-1)
    # Not a number is no high score.
    at_label = ops.where(ops.isnan(at_label), float("-inf"), at_label)
    higher = ops.sum(ops.cast(ops.greater(y_pred, at_label), "int32"), axis=-1)
    return ops.cast(ops.less(higher, k), config.floatx())


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1.0 where the class of the one-hot `y_true` is among the `k` highest scores; ties count in favour."""
    labels = ops.cast(ops.argmax(y_true, axis=-1), "int32")
    return _in_top_k(labels, ops.convert_to_tensor(y_pred), k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Any:
    """1.0 where the class that `y_true` names is among the `k` highest scores; ties count in favour.

    With `from_sorted_ids`, `y_pred` holds class numbers in descending order of score.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype if from_sorted_ids else "int32")
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    if not from_sorted_ids:
        return _in_top_k(y_true, y_pred, k)
    found = ops.any(ops.equal(ops.expand_dims(y_true, -1), y_pred[..., :k]), axis=-1)
    return ops.cast(found, config.floatx())


class Accuracy(NamedMeanMetric):
    """Share of predictions that equal their label. See `accuracy`."""

    _direction = "up"

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(NamedMeanMetric):
    """Share of probabilities on their label's side of `threshold`. See `binary_accuracy`."""

    _direction = "up"

    def __init__(self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        if threshold is not None and not 0 < threshold < 1:
            raise ValueError(f"Expected `threshold` to lie between 0 and 1. Received: threshold={threshold}")
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)
        self.threshold = threshold


class CategoricalAccuracy(NamedMeanMetric):
    """Share of samples whose highest score is at their one-hot label. See `categorical_accuracy`."""

    _direction = "up"

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(NamedMeanMetric):
    """Share of samples whose highest score is at their class number. See `sparse_categorical_accuracy`."""

    _direction = "up"

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(NamedMeanMetric):
    """Share of samples whose class is among the `k` highest scores. See `top_k_categorical_accuracy`."""

    _direction = "up"

    def __init__(self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)
        self.k = k


class SparseTopKCategoricalAccuracy(NamedMeanMetric):
    """Like `TopKCategoricalAccuracy`, for class numbers. See `sparse_top_k_categorical_accuracy`."""

    _direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)
        self.k = k
        self.from_sorted_ids = from_sorted_ids
