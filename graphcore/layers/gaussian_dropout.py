"""Multiplicative noise."""

from __future__ import annotations

import math
from typing import Any

from graphcore import ops, random
from graphcore.layers.arguments import rate_argument, seed_config, seed_generator
from graphcore.layers.layer import Layer


class GaussianDropout(Layer):
    """During training multiplies with normal noise of mean 1 and variance rate / (1 - rate), as dropout has.

    Args:
        rate: share in [0, 1).
        seed: integer or `SeedGenerator`.
        kwargs: see `Layer`.

    Raises:
        ValueError: a rate outside [0, 1).
    """

    supports_masking = True

    def __init__(self, rate: float, seed: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate_argument(rate, "rate", "GaussianDropout")
        if rate == 1:
            raise ValueError("GaussianDropout: the noise of rate=1 has no finite variance. Use a smaller rate.")
        self.seed = seed
        if rate > 0:
            self.seed_generator = seed_generator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Compute the output."""
        if not training or self.rate == 0:
            return inputs
        stddev = math.sqrt(self.rate / (1.0 - self.rate))
        shape, dtype = ops.shape(inputs), self.compute_dtype
        return inputs * random.normal(shape, 1.0, stddev, dtype=dtype, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "rate": self.rate, "seed": seed_config(self.seed)}
