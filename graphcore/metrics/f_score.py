"""F scores: weighted harmonic means of precision and recall."""

from __future__ import annotations

from typing import Any

from graphcore import config, ops
from graphcore.metrics.metric import Metric

AVERAGES = (None, "micro", "macro", "weighted")


class FBetaScore(Metric):
    """`(1 + beta²)·precision·recall / (beta²·precision + recall)`.

    Args:
        average: None for one score a class; `"micro"` counts all classes together, `"macro"` is the mean of
            the classes, `"weighted"` the mean weighted by the labels of each class.
        beta: weight of recall against precision, a positive float.
        threshold: scores above it are positive; None takes the highest score of a sample.
        name: name.
        dtype: dtype.

    Labels (one-hot or multi-hot) and scores have shape (batch, classes).

    Raises:
        ValueError: an argument outside these values.
    """

    _direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if average not in AVERAGES:
            raise ValueError(f"Expected `average` to be one of {AVERAGES}. Received: average={average!r}")
        if not isinstance(beta, float) or beta <= 0.0:
            raise ValueError(f"Expected `beta` to be a positive float. Received: beta={beta!r}")
        if threshold is not None and (not isinstance(threshold, float) or not 0.0 < threshold <= 1.0):
            raise ValueError(f"Expected `threshold` to be a float in (0, 1]. Received: threshold={threshold!r}")
        self.average = average
        self.beta = beta
        self.threshold = threshold
        self.axis = None if average == "micro" else 0
        self._built = False

    def _build(self, y_true: Any, y_pred: Any) -> None:
        for name, tensor in (("y_true", y_true), ("y_pred", y_pred)):
            if len(tensor.shape) != 2 or tensor.shape[-1] is None:
                raise ValueError(
                    f"{type(self).__name__}: expected `{name}` of shape (batch, classes) with a known "
                    f"number of classes. Received: shape={tuple(tensor.shape)}. Class numbers must be made "
                    f"one-hot first."
                )
        shape = () if self.average == "micro" else (y_pred.shape[-1],)
        self.true_positives = self.add_variable(shape, name="true_positives")
        self.false_positives = self.add_variable(shape, name="false_positives")
        self.false_negatives = self.add_variable(shape, name="false_negatives")
        self.intermediate_weights = self.add_variable(shape, name="intermediate_weights")
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        y_true, y_pred = ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype)
        if not self._built:
            self._build(y_true, y_pred)
        if self.threshold is None:
            highest = ops.max(y_pred, axis=-1, keepdims=True)
            chosen = ops.logical_and(y_pred >= highest, ops.absolute(y_pred) > 1e-9)
        else:
            chosen = y_pred > self.threshold
        chosen = ops.cast(chosen, self.dtype)
        weight = None if sample_weight is None else ops.expand_dims(ops.cast(sample_weight, self.dtype), 1)

        def total(values: Any) -> Any:
            return ops.sum(values if weight is None else values * weight, axis=self.axis)

        self.true_positives.assign_add(total(chosen * y_true))
        self.false_positives.assign_add(total(chosen * (1.0 - y_true)))
        self.false_negatives.assign_add(total((1.0 - chosen) * y_true))
        self.intermediate_weights.assign_add(total(y_true))

    def result(self) -> Any:
        """The value over all batches since the last reset."""
        small = config.epsilon()
        precision = self.true_positives / (self.true_positives + self.false_positives + small)
        recall = self.true_positives / (self.true_positives + self.false_negatives + small)
        square = self.beta**2
        score = precision * recall / (square * precision + recall + small) * (1.0 + square)
        if self.average == "weighted":
            weights = self.intermediate_weights / (ops.sum(self.intermediate_weights) + small)
            return ops.sum(score * weights)
        return score if self.average is None else ops.mean(score)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "average": self.average,
            "beta": self.beta,
            "threshold": self.threshold,
        }


class F1Score(FBetaScore):
    """Harmonic mean of precision and recall. See `FBetaScore`."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average=average, beta=1.0, threshold=threshold, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {key: value for key, value in super().get_config().items() if key != "beta"}
