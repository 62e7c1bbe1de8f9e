"""Losses between distributions and between counts."""

from __future__ import annotations

from typing import Any

from graphcore import config, ops
from graphcore.losses.loss import NamedLoss


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """`sum(y_true·log(y_true / y_pred))` over the last axis; both are clipped to [epsilon, 1]."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.clip(ops.cast(y_true, y_pred.dtype), config.epsilon(), 1)
    y_pred = ops.clip(y_pred, config.epsilon(), 1)
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Any:
    """`mean(y_pred - y_true·log(y_pred + epsilon))` over the last axis."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    return ops.mean(y_pred - y_true * ops.log(y_pred + config.epsilon()), axis=-1)


class KLDivergence(NamedLoss):
    """Kullback-Leibler divergence. See `kl_divergence`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "kl_divergence", dtype: Any = None
    ) -> None:
        super().__init__(kl_divergence, reduction, name, dtype)


class Poisson(NamedLoss):
    """Negative log-likelihood of counts, up to a constant. See `poisson`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "poisson", dtype: Any = None
    ) -> None:
        super().__init__(poisson, reduction, name, dtype)
