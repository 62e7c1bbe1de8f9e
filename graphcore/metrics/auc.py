"""Area under the ROC, precision-recall or precision-recall-gain curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore import config, ops
from graphcore.metrics.metric import Metric
from graphcore.metrics.operating_point import NAMES
from graphcore.metrics.thresholds import evenly_spaced_thresholds, update_confusion_variables

CURVES = ("ROC", "PR", "PRGAIN")
SUMMATIONS = ("interpolation", "majoring", "minoring")


def _choice(value: Any, allowed: Sequence[str], argument: str) -> str:
    for candidate in allowed:
        if str(getattr(value, "value", value)).lower() == candidate.lower():
            return candidate
    raise ValueError(f"Expected `{argument}` to be one of {tuple(allowed)}. Received: {argument}={value!r}")


class AUC(Metric):
    """Area under a curve, from counts at `num_thresholds` thresholds.

    Args:
        num_thresholds: number of thresholds, at least 2; the outer two lie just outside [0, 1].
        curve: `"ROC"` (true over false positive rate), `"PR"` (precision over recall; Davis and Goadrich,
            2006) or `"PRGAIN"` (Flach and Kull, 2015).
        summation_method: `"interpolation"` (trapezoids; for PR the true positives are interpolated instead),
            `"majoring"` or `"minoring"` (upper or lower sums).
        name: name.
        dtype: dtype.
        thresholds: inner thresholds in [0, 1], in place of evenly spaced ones.
        multi_label: compute one area for each entry of the last axis, then their mean.
        num_labels: size of the last axis, with `multi_label`; read from the first batch by default.
        label_weights: weights of the labels.
        from_logits: whether predictions are logits, to which the sigmoid is applied first.

    Raises:
        ValueError: an argument outside these values.
    """

    _direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.curve = _choice(curve, CURVES, "curve")
        self.summation_method = _choice(summation_method, SUMMATIONS, "summation_method")
        if num_thresholds <= 1:
            raise ValueError(f"Expected `num_thresholds` > 1. Received: num_thresholds={num_thresholds}")
        if num_labels and not multi_label:
            raise ValueError("`num_labels` is for `multi_label=True` only; leave it out.")
        self._inner = None if thresholds is None else sorted(float(value) for value in thresholds)
        self.num_thresholds = num_thresholds if self._inner is None else len(self._inner) + 2
        inner = evenly_spaced_thresholds(num_thresholds)[1:-1] if self._inner is None else self._inner
        self.thresholds = [-config.epsilon(), *inner, 1.0 + config.epsilon()]
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = None if label_weights is None else np.asarray(label_weights, self.dtype)
        self._from_logits = from_logits
        self._counts: dict[str, Any] = {}
        if not multi_label or num_labels:
            self._build((None, num_labels))

    def _build(self, shape: Sequence[Any]) -> None:
        if self.multi_label and (len(shape) != 2 or shape[1] is None):
            raise ValueError(
                f"AUC with `multi_label` needs y_pred of shape (batch, labels). Received: shape={tuple(shape)}"
            )
        counted = (self.num_thresholds, shape[1]) if self.multi_label else (self.num_thresholds,)
        self._counts = {key: self.add_variable(counted, name=name) for key, name in NAMES.items()}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        if not self._counts:
            self._build(tuple(y_pred.shape))
        update_confusion_variables(
            self._counts,
            y_true,
            ops.sigmoid(y_pred) if self._from_logits else y_pred,
            self.thresholds,
            sample_weight=sample_weight,
            multi_label=self.multi_label,
            label_weights=None if self.multi_label else self.label_weights,
        )

    def result(self) -> Any:
        """The value over all batches since the last reset."""
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._aggregate(self._interpolated_precision_recall())
        x, y = self._curve()
        left, right = y[:-1], y[1:]
        heights = {
            "interpolation": lambda: (left + right) / 2.0,
            "minoring": lambda: ops.minimum(left, right),
            "majoring": lambda: ops.maximum(left, right),
        }[self.summation_method]()
        return self._aggregate((x[:-1] - x[1:]) * heights)

    def _aggregate(self, areas: Any) -> Any:
        """The sum over thresholds, and with `multi_label` the (weighted) mean over labels."""
        if not self.multi_label:
            return ops.sum(areas)
        by_label = ops.sum(areas, axis=0)
        if self.label_weights is None:
            return ops.mean(by_label)
        return ops.divide_no_nan(ops.sum(by_label * self.label_weights), float(self.label_weights.sum()))

    def _curve(self) -> tuple[Any, Any]:
        """Points (x, y) by threshold."""
        tp, fp, tn, fn = (self._counts[key] for key in ("tp", "fp", "tn", "fn"))
        if self.curve == "ROC":
            return ops.divide_no_nan(fp, fp + tn), ops.divide_no_nan(tp, tp + fn)
        if self.curve == "PR":
            return ops.divide_no_nan(tp, tp + fn), ops.divide_no_nan(tp, tp + fp)
        odds = ops.divide_no_nan(tp + fn, tn + fp)
        none_found = ops.equal(tp, 0.0)
        recall_gain = ops.where(none_found, 0.0, 1.0 - odds * ops.divide_no_nan(fn, tp))
        precision_gain = ops.where(none_found, 1.0, 1.0 - odds * ops.divide_no_nan(fp, tp))
        return ops.maximum(recall_gain, 0.0), precision_gain

    def _interpolated_precision_recall(self) -> Any:
        """Areas between thresholds with true positives linear in the number of positive decisions."""
        tp, fn = self._counts["tp"] + 0.0, self._counts["fn"] + 0.0
        positives = tp + self._counts["fp"]
        upper, lower = positives[:-1], positives[1:]
        found = tp[:-1] - tp[1:]
        slope = ops.divide_no_nan(found, ops.maximum(upper - lower, 0.0))
        intercept = tp[1:] - slope * lower
        both = ops.logical_and(upper > 0.0, lower > 0.0)
        ratio = ops.where(both, ops.divide_no_nan(upper, ops.maximum(lower, 0.0)), 1.0)
        area = slope * (found + intercept * ops.log(ratio))
        return ops.divide_no_nan(area, ops.maximum(tp[1:] + fn[1:], 0.0))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        config_ = {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self._from_logits,
        }
        if self._inner is not None:
            config_["thresholds"] = self._inner
        return config_
