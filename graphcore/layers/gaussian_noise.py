"""Additive noise."""

from __future__ import annotations

from typing import Any

from graphcore import ops, random
from graphcore.layers.arguments import rate_argument, seed_config, seed_generator
from graphcore.layers.layer import Layer


class GaussianNoise(Layer):
    """During training adds normal noise of mean 0.

    Args:
        stddev: standard deviation of the noise, in [0, 1].
        seed: integer or `SeedGenerator`.
        kwargs: see `Layer`.

    Raises:
        ValueError: `stddev` outside [0, 1].
    """

    supports_masking = True

    def __init__(self, stddev: float, seed: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stddev = rate_argument(stddev, "stddev", "GaussianNoise")
        self.seed = seed
        if stddev > 0:
            self.seed_generator = seed_generator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Compute the output."""
        if not training or self.stddev == 0:
            return inputs
        shape, dtype = ops.shape(inputs), self.compute_dtype
        return inputs + random.normal(shape, 0.0, self.stddev, dtype=dtype, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "stddev": self.stddev, "seed": seed_config(self.seed)}
