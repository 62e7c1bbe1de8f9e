"""Penalties on weights and activations: `keras.regularizers`.

A regularizer maps a tensor to a scalar that is added to the loss. Weight penalties are added as they are;
activity penalties are divided by the batch size (Keras's rule, applied by the layer).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore.identifiers import Registry
from graphcore.regularizers.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer

l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer

_registry: Registry[Regularizer] = Registry(
    "regularizer",
    "keras.regularizers",
    classes=(L1, L1L2, L2, OrthogonalRegularizer),
    aliases={"l1l2": L1L2, "l1_l2": L1L2},
)


def get(identifier: Any) -> Any:
    """The regularizer that a name, configuration, class, instance or function stands for.

    Raises:
        ValueError: an unknown name (close matches are listed), or nothing callable.
    """
    return _registry.get(identifier)


def serialize(regularizer: Any) -> Any:
    """The configuration of a regularizer."""
    return _registry.serialize(regularizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The regularizer that a configuration describes."""
    return _registry.deserialize(config, custom_objects)


__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]
