"""Counts, precision and recall of binary decisions.

Scores strictly above a threshold are positive decisions. Labels and scores have one shape, or differ by a
trailing axis of size 1; class numbers must be made one-hot first.
"""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.metrics.metric import Metric
from graphcore.metrics.thresholds import NO_SCORE, parse_thresholds, update_confusion_variables


class _Count(Metric):
    """One of the four counts at each threshold; a scalar where there is one threshold."""

    _counted = ""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.thresholds = parse_thresholds(thresholds, 0.5)
        self.accumulator = self.add_variable((len(self.thresholds),), name="accumulator")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        counts = {self._counted: self.accumulator}
        update_confusion_variables(counts, y_true, y_pred, self.thresholds, sample_weight=sample_weight)

    def result(self) -> Any:
        return self.accumulator[0] if len(self.thresholds) == 1 else ops.cast(self.accumulator, self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


class TruePositives(_Count):
    """Number (or weight) of positive samples decided positive."""

    _counted = "tp"


class FalsePositives(_Count):
    """Number (or weight) of negative samples decided positive."""

    _counted = "fp"


class TrueNegatives(_Count):
    """Number (or weight) of negative samples decided negative."""

    _counted = "tn"


class FalseNegatives(_Count):
    """Number (or weight) of positive samples decided negative."""

    _counted = "fn"


class _TrueShare(Metric):
    """True positives over true positives and one sort of mistake."""

    _direction = "up"
    _mistake = ""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.top_k = top_k
        self.class_id = class_id
        self.thresholds = parse_thresholds(thresholds, 0.5 if top_k is None else NO_SCORE)
        shape = (len(self.thresholds),)
        mistakes = {"fp": "false_positives", "fn": "false_negatives"}[self._mistake]
        self.true_positives = self.add_variable(shape, name="true_positives")
        self._mistakes = self.add_variable(shape, name=mistakes)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        update_confusion_variables(
            {"tp": self.true_positives, self._mistake: self._mistakes},
            y_true,
            y_pred,
            self.thresholds,
            top_k=self.top_k,
            class_id=self.class_id,
            sample_weight=sample_weight,
        )

    def result(self) -> Any:
        share = ops.divide_no_nan(self.true_positives, self.true_positives + self._mistakes)
        return share[0] if len(self.thresholds) == 1 else share

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "thresholds": self.init_thresholds,
            "top_k": self.top_k,
            "class_id": self.class_id,
        }


class Precision(_TrueShare):
    """Share of positive decisions that are right: tp / (tp + fp), 0 without positive decisions.

    Args:
        thresholds: a number or a list in [0, 1]; 0.5 by default, none with `top_k`.
        top_k: only the `top_k` highest scores of a sample are positive decisions.
        class_id: the class to look at, of scores (batch, classes).
        name: name.
        dtype: dtype.
    """

    _mistake = "fp"

    @property
    def false_positives(self) -> Any:
        """Negative samples decided positive, by threshold."""
        return self._mistakes


class Recall(_TrueShare):
    """Share of positive samples that are found: tp / (tp + fn), 0 without positive samples.

    Args:
        thresholds: a number or a list in [0, 1]; 0.5 by default, none with `top_k`.
        top_k: only the `top_k` highest scores of a sample are positive decisions.
        class_id: the class to look at, of scores (batch, classes).
        name: name.
        dtype: dtype.
    """

    _mistake = "fn"

    @property
    def false_negatives(self) -> Any:
        """Positive samples decided negative, by threshold."""
        return self._mistakes
