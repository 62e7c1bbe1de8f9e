"""Learning rate schedules: `keras.optimizers.schedules`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore.identifiers import Registry
from graphcore.optimizers.schedules.cosine import CosineDecay, CosineDecayRestarts
from graphcore.optimizers.schedules.decay import (
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from graphcore.optimizers.schedules.schedule import LearningRateSchedule

_registry: Registry[LearningRateSchedule] = Registry(
    "learning rate schedule",
    "keras.optimizers.schedules",
    classes=(
        CosineDecay,
        CosineDecayRestarts,
        ExponentialDecay,
        InverseTimeDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
    ),
    base=LearningRateSchedule,
)


def serialize(learning_rate_schedule: LearningRateSchedule) -> Any:
    """The configuration of a schedule."""
    return _registry.serialize(learning_rate_schedule)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The schedule that a configuration describes."""
    return _registry.deserialize(config, custom_objects)


__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]
