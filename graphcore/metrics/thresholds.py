"""Counts of true and false positives and negatives at one or many thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore import config, ops
from graphcore.losses.loss import squeeze_or_expand_to_same_rank
from graphcore.variable import Variable

# The score of classes that are not among the top k: below every threshold.
NO_SCORE = -1e10


def parse_thresholds(thresholds: Any, default: float) -> list[float]:
    """A list of thresholds from None (the default), a number or a sequence.

    Raises:
        ValueError: a threshold outside [0, 1].
    """
    if thresholds is None:
        return [default]
    values = list(thresholds) if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    wrong = [value for value in values if value is None or not 0 <= value <= 1]
    if wrong:
        raise ValueError(f"Expected thresholds in [0, 1]. Received: {wrong}")
    return [float(value) for value in values]


def evenly_spaced_thresholds(count: int) -> list[float]:
    """0, 1/(count - 1), ..., 1."""
    return [i / (count - 1) for i in range(count)]


def are_evenly_spaced(thresholds: Sequence[float]) -> bool:
    """Whether the thresholds are `evenly_spaced_thresholds`, to within epsilon."""
    if len(thresholds) < 3:
        return False
    return bool(np.allclose(thresholds, evenly_spaced_thresholds(len(thresholds)), atol=config.epsilon()))


def keep_top_k(scores: Any, k: int) -> Any:
    """Scores with all but the `k` highest of the last axis pushed below every threshold; first of equals
    stay."""
    size = scores.shape[-1]
    one, other = ops.expand_dims(scores, -1), ops.expand_dims(scores, -2)
    earlier = np.arange(size)[None, :] < np.arange(size)[:, None]
    ahead = ops.logical_or(other > one, ops.logical_and(ops.equal(other, one), earlier))
    rank = ops.sum(ops.cast(ahead, "int32"), axis=-1)
    return ops.where(rank < k, scores, NO_SCORE)


def _positive(scores: Any, thresholds: Sequence[float], dtype: str) -> Any:
    """Whether each score lies above each threshold; a new first axis counts the thresholds."""
    count = len(thresholds)
    column = (count,) + (1,) * (len(scores.shape) - 1)
    if not are_evenly_spaced(thresholds):
        return ops.greater(scores, np.reshape(np.asarray(thresholds, dtype), column))
    # As Keras decides it: by the number of the interval that the score falls into, not by comparison.
    interval = ops.ceil(ops.clip(scores, 0.0, 1.0) * (count - 1.0)) - 1.0
    if thresholds[0] < 0.0 or thresholds[-1] > 1.0:
        interval = ops.maximum(interval, 0.0)
    return ops.greater_equal(interval, np.reshape(np.arange(count, dtype=dtype), column))


def _weights(sample_weight: Any, label_weights: Any, y_true: Any, y_pred: Any, dtype: str) -> Any:
    weights = ops.ones_like(y_pred)
    if sample_weight is not None:
        given = ops.expand_dims(ops.cast(sample_weight, dtype), -1)
        _, given = squeeze_or_expand_to_same_rank(y_true, given, expand_rank_1=False)
        weights = weights * given
    if label_weights is not None:
        weights = weights * ops.cast(label_weights, dtype)
    return weights


def _one_class(x: Any, class_id: int) -> Any:
    """One entry of the last axis."""
    if len(x.shape) < 2:
        raise ValueError(f"`class_id` needs y_pred of shape (batch, classes). Received: shape={tuple(x.shape)}")
    return x[..., class_id : class_id + 1]


def update_confusion_variables(
    counts: dict[str, Variable],
    y_true: Any,
    y_pred: Any,
    thresholds: Sequence[float],
    *,
    top_k: int | None = None,
    class_id: int | None = None,
    sample_weight: Any = None,
    multi_label: bool = False,
    label_weights: Any = None,
) -> None:
    """Add a batch to confusion counts.

    Args:
        counts: variables by `"tp"`, `"fp"`, `"tn"` or `"fn"`: shape (thresholds,), or (thresholds, labels)
            with `multi_label`.
        y_true: labels 0 and 1, shape (batch, ...).
        y_pred: scores, the same shape (a trailing axis of size 1 may be missing or extra).
        thresholds: scores strictly above one count as positive.
        top_k: only the `top_k` highest scores of the last axis may be positive.
        class_id: count this entry of the last axis only.
        sample_weight: weights that broadcast to the labels.
        multi_label: count each entry of the last axis apart.
        label_weights: weights of the entries of the last axis.
    """
    dtype = next(iter(counts.values())).dtype
    y_true, y_pred = ops.cast(y_true, dtype), ops.cast(y_pred, dtype)
    y_pred, y_true = squeeze_or_expand_to_same_rank(y_pred, y_true)
    if tuple(y_true.shape[1:]) != tuple(y_pred.shape[1:]):
        raise ValueError(
            f"Expected labels and scores of the same shape. Received: y_true of shape {tuple(y_true.shape)}, "
            f"y_pred of shape {tuple(y_pred.shape)}. Class numbers must be made one-hot first."
        )
    if top_k is not None:
        y_pred = keep_top_k(y_pred, top_k)
    if class_id is not None:
        y_true, y_pred = _one_class(y_true, class_id), _one_class(y_pred, class_id)
    weights = _weights(sample_weight, label_weights, y_true, y_pred, dtype)
    labels = ops.cast(ops.not_equal(y_true, 0), dtype)
    if not multi_label:
        y_pred, labels, weights = (ops.reshape(x, (-1,)) for x in (y_pred, labels, weights))
    positive = ops.cast(_positive(ops.expand_dims(y_pred, 0), thresholds, dtype), dtype)
    true, false = ops.expand_dims(labels * weights, 0), ops.expand_dims((1.0 - labels) * weights, 0)
    totals = {"tp": (true, positive), "fp": (false, positive)}
    totals |= {"fn": (true, 1.0 - positive), "tn": (false, 1.0 - positive)}
    for name, variable in counts.items():
        label, prediction = totals[name]
        variable.assign_add(ops.sum(label * prediction, axis=1))
