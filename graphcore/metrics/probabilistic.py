"""Crossentropies and divergences, averaged over samples."""

from __future__ import annotations

from typing import Any

from graphcore import losses, ops
from graphcore.losses.loss import apply_mask
from graphcore.metrics.reduction import NamedMeanMetric


class KLDivergence(NamedMeanMetric):
    """Mean Kullback-Leibler divergence."""

    def __init__(self, name: str = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(losses.kl_divergence, name, dtype)


class Poisson(NamedMeanMetric):
    """Mean Poisson loss."""

    def __init__(self, name: str = "poisson", dtype: Any = None) -> None:
        super().__init__(losses.poisson, name, dtype)


class BinaryCrossentropy(NamedMeanMetric):
    """Mean crossentropy of labels 0 and 1."""

    def __init__(
        self,
        name: str = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        kwargs = {"from_logits": from_logits, "label_smoothing": label_smoothing}
        super().__init__(losses.binary_crossentropy, name, dtype, **kwargs)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing


class CategoricalCrossentropy(NamedMeanMetric):
    """Mean crossentropy of one-hot labels."""

    def __init__(
        self,
        name: str = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        kwargs = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(losses.categorical_crossentropy, name, dtype, **kwargs)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


class SparseCategoricalCrossentropy(NamedMeanMetric):
    """Mean crossentropy of class numbers.

    Samples of `ignore_class` have loss 0; as in Keras they still count in an unweighted mean, and weigh 0 in
    a weighted one.
    """

    def __init__(
        self,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        kwargs = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(losses.sparse_categorical_crossentropy, name, dtype, **kwargs)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch."""
        if self.ignore_class is not None and sample_weight is not None:
            labels = ops.convert_to_tensor(y_true)
            if len(labels.shape) == len(y_pred.shape) and labels.shape[self.axis] == 1:
                labels = ops.squeeze(labels, self.axis)
            valid = ops.not_equal(labels, self.ignore_class)
            sample_weight = apply_mask(sample_weight, valid, self.dtype, "sum")
        super().update_state(y_true, y_pred, sample_weight=sample_weight)
