"""What each Keras metric reports after each of three updates.

Made with Keras 3.15.1 on JAX 0.10.2 (CPU), in float64. Run `python make_metric_references.py` in an
environment as keras_setup.py describes. The structure of metrics.json is in README.md.
"""

from __future__ import annotations

from typing import Any

import keras_setup
import numpy as np
from reference_arrays import CaseWriter

keras_setup.use_float64()

import keras
from keras.src.trainers import compile_utils

GENERATOR = np.random.default_rng(30)
UPDATES = 3
ROWS = (6, 6, 3)
CLASSES = 5


def exact(values: Any) -> np.ndarray:
    """Float64 values that float32 holds exactly."""
    return np.asarray(values).astype(np.float32).astype(np.float64)


def per_update(make: Any) -> list[np.ndarray]:
    return [make(rows) for rows in ROWS]


PROBABILITIES = per_update(lambda rows: exact(GENERATOR.dirichlet(np.ones(CLASSES), size=rows)))
LABELS = per_update(lambda rows: GENERATOR.integers(0, CLASSES, size=rows).astype(np.int32))
ONE_HOT = [exact(np.eye(CLASSES)[labels]) for labels in LABELS]
SCORES = per_update(lambda rows: exact(GENERATOR.uniform(0.02, 0.98, size=(rows, 1))))
BITS = per_update(lambda rows: exact(GENERATOR.integers(0, 2, size=(rows, 1))))
TARGETS = per_update(lambda rows: exact(GENERATOR.normal(size=(rows, 4))))
PREDICTIONS = [exact(target + GENERATOR.normal(size=target.shape)) for target in TARGETS]
MANY_SCORES = per_update(lambda rows: exact(GENERATOR.uniform(0.02, 0.98, size=(rows, 4))))
MANY_BITS = per_update(lambda rows: exact(GENERATOR.integers(0, 2, size=(rows, 4))))
WEIGHTS = per_update(lambda rows: exact(GENERATOR.uniform(0, 2, size=rows)))
Pairs = tuple[list[np.ndarray], list[np.ndarray]]

CASES: tuple[tuple[str, dict[str, Any], Pairs], ...] = (
    ("SparseCategoricalAccuracy", {}, (LABELS, PROBABILITIES)),
    ("CategoricalAccuracy", {}, (ONE_HOT, PROBABILITIES)),
    ("BinaryAccuracy", {}, (BITS, SCORES)),
    ("BinaryAccuracy", {"threshold": 0.3}, (BITS, SCORES)),
    ("BinaryAccuracy", {}, (MANY_BITS, MANY_SCORES)),
    ("Accuracy", {}, (LABELS, [labels[::-1].copy() for labels in LABELS])),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, (LABELS, PROBABILITIES)),
    ("TopKCategoricalAccuracy", {"k": 3}, (ONE_HOT, PROBABILITIES)),
    ("MeanAbsoluteError", {}, (TARGETS, PREDICTIONS)),
    ("MeanSquaredError", {}, (TARGETS, PREDICTIONS)),
    ("RootMeanSquaredError", {}, (TARGETS, PREDICTIONS)),
    ("MeanAbsolutePercentageError", {}, (TARGETS, PREDICTIONS)),
    ("LogCoshError", {}, (TARGETS, PREDICTIONS)),
    ("CosineSimilarity", {}, (TARGETS, PREDICTIONS)),
    ("R2Score", {}, (TARGETS, PREDICTIONS)),
    ("CategoricalCrossentropy", {}, (ONE_HOT, PROBABILITIES)),
    ("SparseCategoricalCrossentropy", {}, (LABELS, PROBABILITIES)),
    ("BinaryCrossentropy", {}, (BITS, SCORES)),
    ("KLDivergence", {}, (ONE_HOT, PROBABILITIES)),
    ("Precision", {}, (BITS, SCORES)),
    ("Precision", {"thresholds": 0.3}, (MANY_BITS, MANY_SCORES)),
    ("Recall", {}, (BITS, SCORES)),
    ("Recall", {"thresholds": 0.7}, (MANY_BITS, MANY_SCORES)),
    ("AUC", {}, (BITS, SCORES)),
    ("AUC", {"curve": "PR", "num_thresholds": 50}, (MANY_BITS, MANY_SCORES)),
    ("F1Score", {}, (ONE_HOT, PROBABILITIES)),
    ("F1Score", {"average": "macro"}, (ONE_HOT, PROBABILITIES)),
    ("TruePositives", {}, (BITS, SCORES)),
    ("FalsePositives", {}, (BITS, SCORES)),
    ("TrueNegatives", {}, (BITS, SCORES)),
    ("FalseNegatives", {}, (BITS, SCORES)),
)

RESOLVED: tuple[tuple[str, str, Pairs], ...] = (
    ("sparse", "accuracy", (LABELS, PROBABILITIES)),
    ("sparse_column", "accuracy", ([labels[:, None] for labels in LABELS], PROBABILITIES)),
    ("categorical", "accuracy", (ONE_HOT, PROBABILITIES)),
    ("binary", "accuracy", (BITS, SCORES)),
    ("binary_flat", "accuracy", ([bits[:, 0] for bits in BITS], SCORES)),
    # Keras looks at shapes, not at the loss: several sigmoid outputs get categorical accuracy.
    ("many_binary", "accuracy", (MANY_BITS, MANY_SCORES)),
    ("short_name", "acc", (LABELS, PROBABILITIES)),
)


def add(writer: CaseWriter, name: str, metric: Any, pairs: Pairs, weighted: bool, **entry: Any) -> None:
    updates, results = [], []
    for index in range(UPDATES):
        y_true, y_pred = pairs[0][index], pairs[1][index]
        weights = WEIGHTS[index] if weighted else None
        metric.update_state(y_true, y_pred, sample_weight=weights)
        updates.append(
            {
                "y_true": writer.store(y_true),
                "y_pred": writer.store(y_pred),
                "sample_weight": None if weights is None else writer.store(weights),
            }
        )
        results.append(np.asarray(metric.result(), np.float64).tolist())
    writer.add(name, **{"class": type(metric).__name__}, **entry, updates=updates, results=results)


def main() -> None:
    writer = CaseWriter("metrics")
    for index, (class_name, kwargs, pairs) in enumerate(CASES):
        for weighted in (False, True):
            name = f"{class_name}_{index}{'_weighted' if weighted else ''}".lower()
            add(writer, name, getattr(keras.metrics, class_name)(**kwargs), pairs, weighted, kwargs=kwargs)
    for name, given, pairs in RESOLVED:
        metric = compile_utils.get_metric(given, pairs[0][0], pairs[1][0])
        add(writer, f"resolved_{name}", metric, pairs, False, kwargs={}, given=given)
    writer.write(keras_setup.versions())


if __name__ == "__main__":
    main()
