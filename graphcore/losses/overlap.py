"""Losses that measure the overlap of predicted and labelled regions. `axis=None` sums over everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import config, ops
from graphcore.losses.loss import NamedLoss

Axis = int | Sequence[int] | None


def dice(y_true: Any, y_pred: Any, axis: Axis = None) -> Any:
    """`1 - 2·sum(y_true·y_pred) / (sum(y_true) + sum(y_pred) + epsilon)`, sums over `axis`."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    overlap = ops.sum(y_true * y_pred, axis=axis)
    total = ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis) + config.epsilon()
    return 1.0 - 2.0 * overlap / total


def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axis = None) -> Any:
    """`1 - overlap / (overlap + alpha·missed + beta·wrong + epsilon)` (Salehi et al., 2017).

    As in Keras, `alpha` weighs labelled elements that are not predicted and `beta` predicted elements that
    are not labelled. With both one half it is the Dice loss.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    overlap = ops.sum(y_true * y_pred, axis=axis)
    missed = ops.sum((1.0 - y_pred) * y_true, axis=axis)
    wrong = ops.sum(y_pred * (1.0 - y_true), axis=axis)
    return 1.0 - overlap / (overlap + missed * alpha + wrong * beta + config.epsilon())


class Dice(NamedLoss):
    """Dice loss for segmentation. See `dice`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "dice",
        axis: Axis = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dice, reduction, name, dtype, axis=axis)
        self.axis = axis


class Tversky(NamedLoss):
    """Tversky loss for segmentation. See `tversky`."""

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "tversky",
        axis: Axis = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)
        self.alpha = alpha
        self.beta = beta
        self.axis = axis
