"""Optimizers: `keras.optimizers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore.identifiers import Registry
from graphcore.optimizers import schedules
from graphcore.optimizers.adadelta import Adadelta
from graphcore.optimizers.adafactor import Adafactor
from graphcore.optimizers.adagrad import Adagrad
from graphcore.optimizers.adam import Adam
from graphcore.optimizers.adamax import Adamax
from graphcore.optimizers.adamw import AdamW
from graphcore.optimizers.ftrl import Ftrl
from graphcore.optimizers.lamb import Lamb
from graphcore.optimizers.lion import Lion
from graphcore.optimizers.nadam import Nadam
from graphcore.optimizers.optimizer import Optimizer
from graphcore.optimizers.rmsprop import RMSprop
from graphcore.optimizers.sgd import SGD

_registry: Registry[Optimizer] = Registry(
    "optimizer",
    "keras.optimizers",
    classes=(
        SGD,
        Adadelta,
        Adafactor,
        Adagrad,
        Adam,
        AdamW,
        Adamax,
        Ftrl,
        Lamb,
        Lion,
        Nadam,
        RMSprop,
    ),
    base=Optimizer,
    snake_case=False,
    any_case=True,
)


def get(identifier: Any) -> Optimizer | None:
    """The optimizer that a name (in any case), configuration, class or instance stands for; None stays None.

    Raises:
        ValueError: an unknown name (close matches are listed), or no optimizer.
    """
    return _registry.get(identifier)


def serialize(optimizer: Optimizer) -> Any:
    """The configuration of an optimizer."""
    return _registry.serialize(optimizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The optimizer that a configuration describes."""
    return _registry.deserialize(config, custom_objects)


__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]
