"""Intersection over union of predicted and labelled classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore import config, ops
from graphcore.metrics.metric import Metric


class IoU(Metric):
    """Mean over the target classes of `tp / (tp + fp + fn)`, from a confusion matrix over all batches.

    Args:
        num_classes: number of classes.
        target_class_ids: the classes to average over; those that never occur are left out.
        name: name.
        dtype: dtype of the confusion matrix, int32 by default (float weights are then cut to integers).
        ignore_class: label whose elements do not count.
        sparse_y_true: whether labels are class numbers; one-hot along `axis` otherwise.
        sparse_y_pred: whether predictions are class numbers; scores along `axis` otherwise.
        axis: axis of the classes where they are not class numbers.

    Labels and predictions outside [0, num_classes) do not count.

    Raises:
        ValueError: a target class out of range.
    """

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name=name, dtype=dtype or "int")
        if max(target_class_ids) >= num_classes:
            raise ValueError(f"Expected `target_class_ids` in [0, {num_classes}). Received: {list(target_class_ids)}")
        self.num_classes = num_classes
        self.target_class_ids = list(target_class_ids)
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis
        self.total_cm = self.add_variable((num_classes, num_classes), name="total_confusion_matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        if not self.sparse_y_true:
            y_true = ops.argmax(y_true, axis=self.axis)
        if not self.sparse_y_pred:
            y_pred = ops.argmax(y_pred, axis=self.axis)
        y_true = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        y_pred = ops.reshape(ops.cast(y_pred, "int32"), (-1,))
        counted = ops.logical_and(self._in_range(y_true), self._in_range(y_pred))
        if self.ignore_class is not None:
            counted = ops.logical_and(counted, ops.not_equal(y_true, self.ignore_class))
        weight = ops.cast(counted, "float32")
        if sample_weight is not None:
            given = ops.cast(ops.cast(sample_weight, self.dtype), "float32")
            weight = weight * (ops.reshape(given, (-1,)) if len(given.shape) > 1 else given)
        rows = ops.one_hot(ops.where(counted, y_true, 0), self.num_classes, dtype="float32")
        columns = ops.one_hot(ops.where(counted, y_pred, 0), self.num_classes, dtype="float32")
        matrix = ops.matmul(ops.transpose(rows * ops.expand_dims(weight, -1)), columns)
        self.total_cm.assign_add(ops.cast(matrix, self.dtype))

    def _in_range(self, classes: Any) -> Any:
        return ops.logical_and(classes >= 0, classes < self.num_classes)

    def result(self) -> Any:
        """The value over all batches since the last reset."""
        matrix = ops.cast(self.total_cm, "float32")
        hits = ops.sum(matrix * np.eye(self.num_classes, dtype="float32"), axis=0)
        union = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - hits
        target = np.asarray(self.target_class_ids, "int32")
        hits, union = ops.take(hits, target, axis=0), ops.take(union, target, axis=0)
        occurs = ops.cast(union > 1e-9, "float32")
        ratios = hits / (union + config.epsilon()) * occurs
        return ops.sum(ratios) / (ops.sum(occurs) + config.epsilon())

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "target_class_ids": self.target_class_ids,
            "ignore_class": self.ignore_class,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            "axis": self.axis,
        }


def _without(config_: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in config_.items() if key not in keys}


class BinaryIoU(IoU):
    """IoU of two classes from probabilities: class 1 where `y_pred >= threshold`. See `IoU`."""

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name=name, dtype=dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        decided = ops.cast(ops.greater_equal(ops.cast(y_pred, "float32"), self.threshold), "int32")
        super().update_state(y_true, decided, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        config_ = super().get_config()
        return {key: config_[key] for key in ("name", "dtype", "target_class_ids")} | {"threshold": self.threshold}


class MeanIoU(IoU):
    """IoU averaged over all classes. See `IoU`."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return _without(super().get_config(), "target_class_ids")


class OneHotIoU(IoU):
    """IoU of one-hot labels. See `IoU`."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return _without(super().get_config(), "sparse_y_true")


class OneHotMeanIoU(MeanIoU):
    """IoU of one-hot labels averaged over all classes. See `IoU`."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return _without(super().get_config(), "sparse_y_true")
