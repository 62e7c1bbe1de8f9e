"""Names whose meaning depends on shapes: `accuracy` and `crossentropy` in `Model.compile`.

Keras looks at the shapes of labels and predictions, not at the loss: with predictions of one column they are
binary; with labels of lower rank, or of one column, they are class numbers; otherwise one-hot. Multi-label
outputs (n, k) of sigmoids therefore get `CategoricalAccuracy`; ask for `"binary_accuracy"` by name there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphcore import losses, metrics, tree
from graphcore.metrics.metric import Metric
from graphcore.metrics.reduction import MeanMetricWrapper
from graphcore.naming import to_snake_case

Extents = Sequence[int | None]
ACCURACIES = ("accuracy", "acc")
CROSSENTROPIES = ("crossentropy", "ce")


def check_names(identifiers: Any, lookup: Callable[[Any], Any]) -> None:
    """Look every name in a structure up, so that a mistyped one is reported at once, not at the first batch.

    Names that depend on shapes are known, whatever they will turn out to be.

    Raises:
        ValueError: an unknown name (close matches are listed).
    """
    for identifier in tree.flatten(identifiers):
        if isinstance(identifier, str) and identifier.lower() not in ACCURACIES + CROSSENTROPIES:
            lookup(identifier)


def kind_of_labels(y_true_shape: Extents, y_pred_shape: Extents) -> str:
    """`"binary"`, `"sparse_categorical"` or `"categorical"`, from the shapes of labels and predictions."""
    if y_pred_shape and y_pred_shape[-1] == 1:
        return "binary"
    if len(y_true_shape) < len(y_pred_shape):
        return "sparse_categorical"
    one_column = bool(y_true_shape) and y_true_shape[-1] == 1
    several = bool(y_pred_shape) and y_pred_shape[-1] is not None and y_pred_shape[-1] > 1
    return "sparse_categorical" if one_column and several else "categorical"


def _class_of(kind: str, what: str) -> type[Any]:
    return {
        ("binary", "accuracy"): metrics.BinaryAccuracy,
        ("sparse_categorical", "accuracy"): metrics.SparseCategoricalAccuracy,
        ("categorical", "accuracy"): metrics.CategoricalAccuracy,
        ("binary", "crossentropy"): metrics.BinaryCrossentropy,
        ("sparse_categorical", "crossentropy"): metrics.SparseCategoricalCrossentropy,
        ("categorical", "crossentropy"): metrics.CategoricalCrossentropy,
    }[kind, what]


def _object_name(thing: Any) -> str:
    if hasattr(thing, "name"):
        return str(thing.name)
    return to_snake_case(getattr(thing, "__name__", type(thing).__name__))


def resolve_metric(identifier: Any, y_true_shape: Extents, y_pred_shape: Extents) -> Metric | None:
    """The metric that an entry of `compile(metrics=...)` stands for; a string keeps its name as typed.

    Raises:
        ValueError: an unknown name (close matches are listed).
    """
    if identifier is None:
        return None
    word = identifier.lower() if isinstance(identifier, str) else ""
    if word in ACCURACIES or word in CROSSENTROPIES:
        kind = kind_of_labels(y_true_shape, y_pred_shape)
        class_ = _class_of(kind, "accuracy" if word in ACCURACIES else "crossentropy")
        found: Metric = class_(name=str(identifier))
        return found
    found = metrics.get(identifier)
    name = identifier if isinstance(identifier, str) else _object_name(found)
    if not isinstance(found, Metric):
        found = MeanMetricWrapper(found, name=name)
    found.name = name
    return found


def resolve_loss(identifier: Any, y_true_shape: Extents, y_pred_shape: Extents) -> Any:
    """The loss object that an entry of `compile(loss=...)` stands for.

    Raises:
        ValueError: an unknown name (close matches are listed).
    """
    if identifier is None:
        return None
    if isinstance(identifier, str) and identifier.lower() in CROSSENTROPIES:
        kind = kind_of_labels(y_true_shape, y_pred_shape)
        found: Any = losses.get(f"{kind}_crossentropy")
    else:
        found = losses.get(identifier)
    if isinstance(found, losses.Loss):
        return found
    name = identifier if isinstance(identifier, str) else _object_name(found)
    return losses.LossFunctionWrapper(found, name=name)
