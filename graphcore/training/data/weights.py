"""Sample weights: what users pass, and what class weights amount to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphcore import tree
from graphcore.settings import floatx
from graphcore.training.data.arrays import Array, Structure


def resolve_sample_weight(y: Structure, sample_weight: Structure, class_weight: Any) -> Structure:
    """The sample weights of a batch or data set: as given, repeated for each output, or from class weights.

    Args:
        y: targets (arrays).
        sample_weight: array, structure like `y`, or None.
        class_weight: mapping from label to weight, or None.

    Raises:
        ValueError: if both are given or they do not fit the targets.
    """
    if class_weight is not None:
        if sample_weight is not None:
            raise ValueError(
                "You cannot specify `class_weight` and `sample_weight` at the same time. "
                "Multiply the class weights into `sample_weight`."
            )
        return class_weight_to_sample_weights(y, class_weight)
    if sample_weight is None or not tree.is_nested(y):
        return sample_weight
    if not tree.is_nested(sample_weight):
        return _repeat(y, sample_weight)
    expected, received = len(tree.flatten(y)), len(tree.flatten(sample_weight))
    if received != expected:
        raise ValueError(
            f"`sample_weight` must be one array or one for each of the {expected} targets in `y`. "
            f"Received: {received} arrays"
        )
    return sample_weight


def _repeat(y: Structure, sample_weight: Array) -> Structure:
    one_for_each_sample = sample_weight.ndim == 1 or (sample_weight.ndim == 2 and sample_weight.shape[1] == 1)
    if not one_for_each_sample:
        raise ValueError(
            "With several outputs a single `sample_weight` array must hold one weight for each sample. "
            f"Received: shape={sample_weight.shape}. Pass one array for each output to weight their elements."
        )
    return tree.map_structure(lambda target: None if target is None else sample_weight, y)


def class_weight_to_sample_weights(y: Structure, class_weight: Mapping[int, float]) -> Array:
    """The weight of each sample's class, shape (N,); classes that are not in the mapping weigh 1.

    Args:
        y: labels of shape (N,) or (N, 1), rounded to integers, or one-hot rows (N, K).
        class_weight: mapping from label to weight.

    Raises:
        ValueError: if the targets are missing, nested or not finite, or `class_weight` is no mapping.
    """
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            "`class_weight` must be a dict from class index to weight, such as {0: 1.0, 1: 5.0}. "
            f"Received: class_weight={class_weight!r}"
        )
    if y is None or tree.is_nested(y):
        count = 0 if y is None else len(tree.flatten(y))
        raise ValueError(
            "`class_weight` is only supported for models with a single output. "
            f"Received: {count} targets. Pass `sample_weight` instead."
        )
    labels = y
    if labels.ndim > 1:
        labels = labels[..., 0] if labels.shape[-1] == 1 else np.argmax(labels, axis=-1)
    if labels.ndim != 1:
        raise ValueError(
            f"`class_weight` needs one class for each sample. Received: y of shape {y.shape}. "
            "Pass `sample_weight` instead."
        )
    if not np.isfinite(labels).all():
        raise ValueError("`class_weight` needs finite labels. Received: NaN or infinity in `y`.")
    classes, positions = np.unique(np.round(labels).astype(np.int64), return_inverse=True)
    weights = np.array([class_weight.get(int(label), 1.0) for label in classes], dtype=floatx())
    return weights[positions]
