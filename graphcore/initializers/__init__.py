"""How weights start: `keras.initializers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphcore.identifiers import Registry
from graphcore.initializers.constant import Constant, Identity, Ones, Zeros
from graphcore.initializers.initializer import Array, Initializer, InitializerLike
from graphcore.initializers.orthogonal import Orthogonal
from graphcore.initializers.random import RandomInitializer, RandomNormal, RandomUniform, TruncatedNormal
from graphcore.initializers.variance_scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
    compute_fans,
)

constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
identity = IdentityInitializer = Identity
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = Ones
orthogonal = OrthogonalInitializer = Orthogonal
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = Zeros

_registry: Registry[Initializer] = Registry(
    "initializer",
    "keras.initializers",
    classes=(
        Constant,
        GlorotNormal,
        GlorotUniform,
        HeNormal,
        HeUniform,
        Identity,
        LecunNormal,
        LecunUniform,
        Ones,
        Orthogonal,
        RandomNormal,
        RandomUniform,
        TruncatedNormal,
        VarianceScaling,
        Zeros,
    ),
    aliases={
        "IdentityInitializer": Identity,
        "OrthogonalInitializer": Orthogonal,
        "normal": RandomNormal,
        "one": Ones,
        "uniform": RandomUniform,
        "zero": Zeros,
    },
)


def get(identifier: Any) -> Any:
    """The initializer that a name, configuration, class, instance, function or array stands for.

    An array gives a function that returns it, for weights of exactly its shape.

    Raises:
        ValueError: an unknown name (close matches are listed), or nothing that initializes.
    """
    if isinstance(identifier, (np.ndarray, np.generic)):
        return _ArrayInitializer(np.asarray(identifier))
    return _registry.get(identifier)


def serialize(initializer: Any) -> Any:
    """The configuration of an initializer."""
    return _registry.serialize(initializer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The initializer that a configuration describes."""
    return _registry.deserialize(config, custom_objects)


class _ArrayInitializer(Initializer):
    """Returns one given array."""

    def __init__(self, value: Array) -> None:
        self.value = np.array(value)

    def __call__(self, shape: Any, dtype: str | None = None) -> Array:
        if tuple(shape) != self.value.shape:
            raise ValueError(
                f"Expected `shape` to be the shape of the given array, {self.value.shape}. "
                f"Received: shape={tuple(shape)}. Pass an array of the weight's shape."
            )
        return self.value.astype(dtype or self.value.dtype)

    def get_config(self) -> dict[str, Any]:
        raise TypeError(
            "A weight initialized with an array has no configuration. Use a named initializer, such as "
            "`keras.initializers.Constant`, where the layer must be saved as a configuration."
        )


__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "InitializerLike",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomInitializer",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "compute_fans",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]
