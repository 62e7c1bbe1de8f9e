"""What each Keras loss computes: values and gradients with respect to y_pred.

Made with Keras 3.15.1 on JAX 0.10.2 (CPU), in float64. Run `python make_loss_references.py` in an
environment as keras_setup.py describes. The structure of losses.json is in README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras_setup
import numpy as np
from reference_arrays import CaseWriter

keras_setup.use_float64()

import jax
import keras
from jax import numpy as jnp

Row = tuple[str, str, dict[str, Any], np.ndarray, np.ndarray, np.ndarray | None]
GENERATOR = np.random.default_rng(20)


def exact(values: Any) -> np.ndarray:
    """Float64 values that float32 holds exactly."""
    return np.asarray(values).astype(np.float32).astype(np.float64)


LOGITS = exact(2 * GENERATOR.normal(size=(6, 5)))
# Not a perfect distribution: Keras divides by the sum, so gradients see the renormalisation.
PROBABILITIES = exact(GENERATOR.uniform(0.05, 0.9, size=(6, 5)))
CLASSES = np.array([0, 3, 4, 1, 2, 3], np.int32)
ONE_HOT = exact(np.eye(5)[CLASSES])
SOFT = exact(GENERATOR.dirichlet(np.ones(5), size=6))
BITS = exact(GENERATOR.integers(0, 2, size=(6, 5)))
SATURATED = exact(
    [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1e-9, 1 - 2e-7, 1e-9, 1e-10, 1e-10], [0.25, 0.75, 0, 0, 0]]
)
SATURATED_CLASSES = np.array([0, 0, 1, 1], np.int32)
TARGETS = exact(GENERATOR.normal(size=(6, 5)))
PREDICTIONS = exact(TARGETS + 1.5 * GENERATOR.normal(size=(6, 5)))
POSITIVE_TARGETS = exact(GENERATOR.uniform(0.1, 3, size=(6, 5)))
POSITIVE_PREDICTIONS = exact(GENERATOR.uniform(0.1, 3, size=(6, 5)))
SIGNS = exact(np.where(BITS > 0, 1.0, -1.0))
WEIGHTS = exact([0.5, 2.0, 0.0, 1.25, 1.0, 0.75])
SEQUENCE_LOGITS = exact(GENERATOR.normal(size=(3, 4, 5)))
SEQUENCE_CLASSES = GENERATOR.integers(0, 5, size=(3, 4)).astype(np.int32)
SEQUENCE_WEIGHTS = exact(GENERATOR.uniform(0, 2, size=(3, 4)))


def crossentropy_rows() -> Iterator[Row]:
    for logits in (False, True):
        y_pred, suffix = (LOGITS, "logits") if logits else (PROBABILITIES, "probabilities")
        kwargs = {"from_logits": logits}
        yield f"categorical_{suffix}", "CategoricalCrossentropy", kwargs, ONE_HOT, y_pred, None
        yield f"categorical_{suffix}_soft", "CategoricalCrossentropy", kwargs, SOFT, y_pred, None
        smooth = {**kwargs, "label_smoothing": 0.1}
        yield f"categorical_{suffix}_smooth", "CategoricalCrossentropy", smooth, ONE_HOT, y_pred, None
        yield f"sparse_{suffix}", "SparseCategoricalCrossentropy", kwargs, CLASSES, y_pred, None
        column = CLASSES[:, None]
        yield f"sparse_{suffix}_column", "SparseCategoricalCrossentropy", kwargs, column, y_pred, None
        yield f"sparse_{suffix}_weighted", "SparseCategoricalCrossentropy", kwargs, CLASSES, y_pred, WEIGHTS
        ignoring = {**kwargs, "ignore_class": 3}
        yield (
            f"sparse_{suffix}_ignore_class",
            "SparseCategoricalCrossentropy",
            ignoring,
            CLASSES,
            y_pred,
            None,
        )
        yield f"binary_{suffix}", "BinaryCrossentropy", kwargs, BITS, y_pred, None
        yield f"binary_{suffix}_smooth", "BinaryCrossentropy", smooth, BITS, y_pred, None
        yield f"binary_{suffix}_weighted", "BinaryCrossentropy", kwargs, BITS, y_pred, WEIGHTS
        yield f"binary_{suffix}_column", "BinaryCrossentropy", kwargs, BITS[:, 0], y_pred[:, :1], None
        focal = {**kwargs, "gamma": 2.0}
        yield f"binary_focal_{suffix}", "BinaryFocalCrossentropy", focal, BITS, y_pred, None
        yield f"categorical_focal_{suffix}", "CategoricalFocalCrossentropy", focal, ONE_HOT, y_pred, None
    one_hot = exact(np.eye(5)[SATURATED_CLASSES])
    yield "sparse_saturated", "SparseCategoricalCrossentropy", {}, SATURATED_CLASSES, SATURATED, None
    yield "categorical_saturated", "CategoricalCrossentropy", {}, one_hot, SATURATED, None
    yield "binary_saturated", "BinaryCrossentropy", {}, one_hot, SATURATED, None
    extreme = exact(np.where(SATURATED > 0.5, 80.0, -80.0))
    logits = {"from_logits": True}
    yield "sparse_extreme_logits", "SparseCategoricalCrossentropy", logits, SATURATED_CLASSES, extreme, None
    yield "categorical_extreme_logits", "CategoricalCrossentropy", logits, one_hot, extreme, None
    yield "binary_extreme_logits", "BinaryCrossentropy", logits, one_hot, extreme, None
    sequence = ("SparseCategoricalCrossentropy", logits, SEQUENCE_CLASSES, SEQUENCE_LOGITS)
    yield "sparse_sequence", *sequence, None
    yield "sparse_sequence_weighted", *sequence, SEQUENCE_WEIGHTS


def regression_rows() -> Iterator[Row]:
    plain = ("MeanSquaredError", "MeanAbsoluteError", "LogCosh", "Huber", "CosineSimilarity")
    for name in plain:
        yield name.lower(), name, {}, TARGETS, PREDICTIONS, None
        yield f"{name.lower()}_weighted", name, {}, TARGETS, PREDICTIONS, WEIGHTS
    yield "huber_delta", "Huber", {"delta": 0.3}, TARGETS, PREDICTIONS, None
    yield "cosine_axis0", "CosineSimilarity", {"axis": 0}, TARGETS, PREDICTIONS, None
    positive = ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "Poisson")
    for name in positive:
        yield name.lower(), name, {}, POSITIVE_TARGETS, POSITIVE_PREDICTIONS, None
    yield "kldivergence", "KLDivergence", {}, SOFT, PROBABILITIES, None
    for name in ("Hinge", "SquaredHinge"):
        yield f"{name.lower()}_bits", name, {}, BITS, PREDICTIONS, None
        yield f"{name.lower()}_signs", name, {}, SIGNS, PREDICTIONS, None
    yield "categoricalhinge", "CategoricalHinge", {}, ONE_HOT, PREDICTIONS, None
    # A missing last axis of one is added, never broadcast to a square.
    yield "mse_squeezed", "MeanSquaredError", {}, TARGETS[:, 0], PREDICTIONS[:, :1], None
    yield "mse_rank3", "MeanSquaredError", {}, SEQUENCE_LOGITS, SEQUENCE_LOGITS[::-1].copy(), SEQUENCE_WEIGHTS


def reduction_rows() -> Iterator[Row]:
    for reduction in ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"):
        for weights, suffix in ((None, ""), (WEIGHTS, "_weighted")):
            kwargs = {"reduction": reduction}
            yield f"mse_{reduction}{suffix}", "MeanSquaredError", kwargs, TARGETS, PREDICTIONS, weights
            name = f"sparse_{reduction}{suffix}"
            yield name, "SparseCategoricalCrossentropy", kwargs, CLASSES, PROBABILITIES, weights


def main() -> None:
    writer = CaseWriter("losses")
    for rows in (crossentropy_rows(), regression_rows(), reduction_rows()):
        for name, class_name, kwargs, y_true, y_pred, weights in rows:
            loss = getattr(keras.losses, class_name)(**kwargs)

            def function(prediction: Any, call: Any = loss, truth: Any = y_true, scale: Any = weights) -> Any:
                return call(truth, prediction, sample_weight=scale)

            value, pullback = jax.vjp(function, jnp.asarray(y_pred))
            (gradient,) = pullback(jnp.ones_like(value))
            entry = {"class": class_name, "kwargs": kwargs}
            entry["y_true"], entry["y_pred"] = writer.store(y_true), writer.store(y_pred)
            entry["sample_weight"] = None if weights is None else writer.store(weights)
            entry["value"], entry["gradient"] = writer.store(value), writer.store(gradient)
            writer.add(name, **entry)
    writer.write(keras_setup.versions())


if __name__ == "__main__":
    main()
