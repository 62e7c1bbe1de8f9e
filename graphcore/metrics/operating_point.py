"""The best of one rate where another rate reaches a given value."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.metrics.metric import Metric
from graphcore.metrics.thresholds import evenly_spaced_thresholds, update_confusion_variables

NAMES = {"tp": "true_positives", "fp": "false_positives", "tn": "true_negatives", "fn": "false_negatives"}
RATES = {
    "sensitivity": ("tp", "fn"),
    "recall": ("tp", "fn"),
    "specificity": ("tn", "fp"),
    "precision": ("tp", "fp"),
}


class _OperatingPoint(Metric):
    """The largest `_wanted` rate over `num_thresholds` thresholds at which the `_given` rate is high
    enough."""

    _direction = "up"
    _given = ""
    _wanted = ""

    def __init__(
        self,
        value: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if not 0 <= value <= 1:
            raise ValueError(f"Expected `{self._given}` in [0, 1]. Received: {self._given}={value}")
        if num_thresholds <= 0:
            raise ValueError(f"Expected `num_thresholds` > 0. Received: num_thresholds={num_thresholds}")
        self.value = value
        self.num_thresholds = num_thresholds
        self.class_id = class_id
        self.thresholds = [0.5] if num_thresholds == 1 else evenly_spaced_thresholds(num_thresholds)
        shape = (len(self.thresholds),)
        self._counts = {key: self.add_variable(shape, name=name_) for key, name_ in NAMES.items()}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        update_confusion_variables(
            self._counts,
            y_true,
            y_pred,
            self.thresholds,
            class_id=self.class_id,
            sample_weight=sample_weight,
        )

    def result(self) -> Any:
        feasible = ops.greater_equal(self._rate(self._given), self.value)
        # Rates are not negative, so 0 where nothing is feasible.
        return ops.max(ops.where(feasible, self._rate(self._wanted), 0.0))

    def _rate(self, name: str) -> Any:
        right, wrong = (self._counts[key] for key in RATES[name])
        return ops.divide_no_nan(right, right + wrong)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "class_id": self.class_id,
            "num_thresholds": self.num_thresholds,
            self._given: self.value,
        }


class SensitivityAtSpecificity(_OperatingPoint):
    """The highest sensitivity tp / (tp + fn) where specificity tn / (tn + fp) is at least `specificity`."""

    _given, _wanted = "specificity", "sensitivity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)
        self.specificity = specificity


class SpecificityAtSensitivity(_OperatingPoint):
    """The highest specificity tn / (tn + fp) where sensitivity tp / (tp + fn) is at least `sensitivity`."""

    _given, _wanted = "sensitivity", "specificity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)
        self.sensitivity = sensitivity


class PrecisionAtRecall(_OperatingPoint):
    """The highest precision tp / (tp + fp) where recall tp / (tp + fn) is at least `recall`."""

    _given, _wanted = "recall", "precision"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)
        self.recall = recall


class RecallAtPrecision(_OperatingPoint):
    """The highest recall tp / (tp + fn) where precision tp / (tp + fp) is at least `precision`."""

    _given, _wanted = "precision", "recall"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)
        self.precision = precision
