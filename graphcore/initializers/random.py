"""Initializers that draw random numbers.

As in Keras, an instance has one seed for life: called twice with the same shape it returns the same values,
even where no seed was given (it then drew one at construction). Two instances differ.
"""

from __future__ import annotations

import random as python_random
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore.initializers.initializer import Array, Initializer, standard_dtype

LARGEST_DEFAULT_SEED = 10**9


def make_default_seed() -> int:
    """A seed from Python's `random`, which `keras.utils.set_random_seed` seeds."""
    return python_random.randint(1, LARGEST_DEFAULT_SEED)


class RandomInitializer(Initializer):
    """Holds the seed: an integer, or a `SeedGenerator` that moves on with each call.

    Raises:
        ValueError: the seed is neither.
    """

    def __init__(self, seed: Any = None) -> None:
        if seed is not None and not isinstance(seed, (int, np.integer)) and not hasattr(seed, "next"):
            raise ValueError(
                f"Expected `seed` to be an integer, a `keras.random.SeedGenerator` or None. Received: "
                f"seed={seed}"
            )
        self._given_seed = seed
        self.seed = make_default_seed() if seed is None else seed

    def generator(self) -> np.random.Generator:
        """A generator that starts at this initializer's seed."""
        if isinstance(self.seed, (int, np.integer)):
            return np.random.default_rng(int(self.seed) % 2**64)
        words = np.asarray(self.seed.next()).ravel()
        return np.random.default_rng([int(word) for word in words])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        seed = self._given_seed
        if seed is None or isinstance(seed, (int, np.integer)):
            return {"seed": None if seed is None else int(seed)}
        return {"seed": seed.get_config().get("seed")}


def drawing_dtype(dtype: str) -> type[np.float32] | type[np.float64]:
    """Double precision is drawn in double precision, everything narrower in single."""
    if not np.issubdtype(np.dtype(dtype), np.floating):
        raise ValueError(
            f"Random initializers make floating-point weights. Received: dtype={dtype!r}. Use `Constant`, or "
            f"give the weight a floating dtype."
        )
    return np.float64 if dtype == "float64" else np.float32


def _scaled(values: Array, factor: float, offset: float, name: str) -> Array:
    """`values * factor + offset`, in the memory of `values`: a large layer's weights are drawn in half the time."""
    values *= values.dtype.type(factor)
    values += values.dtype.type(offset)
    return values.astype(name, copy=False)


def draw_normal(
    generator: np.random.Generator, shape: Sequence[int], mean: float, stddev: float, dtype: str | None
) -> Array:
    """Normal deviates."""
    name = standard_dtype(dtype)
    values = generator.standard_normal(tuple(shape), dtype=drawing_dtype(name))
    return _scaled(values, stddev, mean, name)


def draw_truncated_normal(
    generator: np.random.Generator, shape: Sequence[int], mean: float, stddev: float, dtype: str | None
) -> Array:
    """Normal deviates redrawn until they lie within two standard deviations of the mean."""
    name = standard_dtype(dtype)
    flat = generator.standard_normal(int(np.prod(tuple(shape), dtype=np.int64)), dtype=drawing_dtype(name))
    outside = np.flatnonzero(np.abs(flat) > 2)
    while outside.size:
        flat[outside] = generator.standard_normal(outside.size, dtype=flat.dtype.type)
        outside = outside[np.abs(flat[outside]) > 2]
    values = flat.reshape(tuple(shape))
    return _scaled(values, stddev, mean, name)


def draw_uniform(
    generator: np.random.Generator, shape: Sequence[int], low: float, high: float, dtype: str | None
) -> Array:
    """Uniform deviates in [low, high)."""
    name = standard_dtype(dtype)
    values = generator.random(tuple(shape), dtype=drawing_dtype(name))
    return _scaled(values, high - low, low, name)


class RandomNormal(RandomInitializer):
    """Normal distribution with `mean` and standard deviation `stddev`."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None) -> None:
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        return draw_normal(self.generator(), shape, self.mean, self.stddev, dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomInitializer):
    """Normal distribution cut at two standard deviations from the mean (values outside are redrawn)."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None) -> None:
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        return draw_truncated_normal(self.generator(), shape, self.mean, self.stddev, dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class RandomUniform(RandomInitializer):
    """Uniform distribution over [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None) -> None:
        super().__init__(seed)
        self.minval = minval
        self.maxval = maxval

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        return draw_uniform(self.generator(), shape, self.minval, self.maxval, dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}
