"""Checks of label values that a compiled program could not report: it would read outside of an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphcore.losses import (
    Loss,
    LossFunctionWrapper,
    categorical_generalized_cross_entropy,
    circle,
    ctc,
    sparse_categorical_crossentropy,
)
from graphcore.training.data.arrays import Array

_TAKE_NUMBERS = (sparse_categorical_crossentropy, categorical_generalized_cross_entropy, circle, ctc)


def takes_class_numbers(loss: Loss | None) -> bool:
    """Whether the loss takes each label as the number of a class: labels are shaped like the output without its last
    axis."""
    return isinstance(loss, LossFunctionWrapper) and loss.fn in _TAKE_NUMBERS


def looks_classes_up(loss: Loss) -> bool:
    """Whether the loss reads the prediction that stands at a label, so that no label may be out of range."""
    return isinstance(loss, LossFunctionWrapper) and loss.fn is sparse_categorical_crossentropy


def ignored_class(loss: Loss) -> int | None:
    """The label that the loss skips, whatever its value."""
    return getattr(loss, "ignore_class", None)


def check_class_numbers(labels: Array, classes: int | None, loss: Loss, name: str) -> None:
    """Raise ValueError unless every label is an integer from 0 to `classes - 1`.

    Args:
        labels: the targets of one output.
        classes: number of classes, the last extent of the predictions; None if not known.
        loss: the output's loss.
        name: the argument in messages, such as "y" or "y['digit']".
    """
    values: Any = labels
    if labels.dtype.kind == "f":
        bad = ~np.isfinite(labels) | (labels != np.floor(labels))
        if bad.any():
            raise ValueError(_message(loss, classes, name, labels[bad].flat[0]) + _HINT)
    skipped = ignored_class(loss)
    if skipped is not None:
        values = labels[labels != skipped]
    if values.size == 0 or values.dtype.kind == "b":
        return
    lowest, highest = values.min(), values.max()
    if lowest < 0:
        raise ValueError(_message(loss, classes, name, lowest) + _HINT)
    if classes is not None and highest >= classes:
        raise ValueError(_message(loss, classes, name, highest) + _HINT)


_HINT = " Relabel the data, widen the last layer, or, for one-hot rows, use 'categorical_crossentropy'."


def _message(loss: Loss, classes: int | None, name: str, value: Any) -> str:
    allowed = f"from 0 to {classes - 1}" if classes is not None else "from 0"
    return f"The loss '{loss.name}' needs integer labels {allowed} in `{name}`. Received: {value}."
