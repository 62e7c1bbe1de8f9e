"""Hinge losses: labels are -1 and 1; where all labels of a batch are 0 or 1 they are mapped to these."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.losses.loss import NamedLoss


def convert_binary_labels_to_hinge(y_true: Any) -> Any:
    """Labels {0, 1} become {-1, 1} if all of them are 0 or 1; other labels stay."""
    is_binary = ops.all(ops.logical_or(ops.equal(y_true, 0), ops.equal(y_true, 1)))
    return ops.where(is_binary, 2.0 * y_true - 1.0, y_true)


def _labels(y_true: Any, y_pred: Any) -> Any:
    return convert_binary_labels_to_hinge(ops.cast(y_true, y_pred.dtype))


def hinge(y_true: Any, y_pred: Any) -> Any:
    """`mean(max(1 - y_true·y_pred, 0))` over the last axis."""
    y_pred = ops.convert_to_tensor(y_pred)
    return ops.mean(ops.maximum(1.0 - _labels(y_true, y_pred) * y_pred, 0.0), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """`mean(max(1 - y_true·y_pred, 0)²)` over the last axis."""
    y_pred = ops.convert_to_tensor(y_pred)
    return ops.mean(ops.square(ops.maximum(1.0 - _labels(y_true, y_pred) * y_pred, 0.0)), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """`max(neg - pos + 1, 0)`: pos is the score of the true class, neg the best score of the others.

    `y_true` is one-hot.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    positive = ops.sum(y_true * y_pred, axis=-1)
    negative = ops.max((1.0 - y_true) * y_pred, axis=-1)
    return ops.maximum(negative - positive + 1.0, 0.0)


class Hinge(NamedLoss):
    """Mean hinge loss of binary labels. See `hinge`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "hinge", dtype: Any = None
    ) -> None:
        super().__init__(hinge, reduction, name, dtype)


class SquaredHinge(NamedLoss):
    """Mean squared hinge loss of binary labels. See `squared_hinge`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "squared_hinge", dtype: Any = None
    ) -> None:
        super().__init__(squared_hinge, reduction, name, dtype)


class CategoricalHinge(NamedLoss):
    """Hinge loss of one-hot labels. See `categorical_hinge`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(categorical_hinge, reduction, name, dtype)
