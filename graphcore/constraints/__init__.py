"""Projections applied to weights after each optimizer step: `keras.constraints`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore.constraints.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from graphcore.identifiers import Registry

max_norm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = NonNeg
unit_norm = UnitNorm

_registry: Registry[Constraint] = Registry(
    "constraint", "keras.constraints", classes=(MaxNorm, MinMaxNorm, NonNeg, UnitNorm)
)


def get(identifier: Any) -> Any:
    """The constraint that a name, configuration, class, instance or function stands for.

    Raises:
        ValueError: an unknown name (close matches are listed), or nothing callable.
    """
    return _registry.get(identifier)


def serialize(constraint: Any) -> Any:
    """The configuration of a constraint."""
    return _registry.serialize(constraint)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The constraint that a configuration describes."""
    return _registry.deserialize(config, custom_objects)


__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]
