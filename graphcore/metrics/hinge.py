"""Hinge losses, averaged over samples."""

from __future__ import annotations

from typing import Any

from graphcore import losses
from graphcore.metrics.reduction import NamedMeanMetric


class Hinge(NamedMeanMetric):
    """Mean hinge loss of binary labels."""

    def __init__(self, name: str = "hinge", dtype: Any = None) -> None:
        super().__init__(losses.hinge, name, dtype)


class SquaredHinge(NamedMeanMetric):
    """Mean squared hinge loss of binary labels."""

    def __init__(self, name: str = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(losses.squared_hinge, name, dtype)


class CategoricalHinge(NamedMeanMetric):
    """Mean hinge loss of one-hot labels."""

    def __init__(self, name: str = "categorical_hinge", dtype: Any = None) -> None:
        super().__init__(losses.categorical_hinge, name, dtype)
