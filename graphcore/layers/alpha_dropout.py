"""Dropout that keeps mean and variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops, random
from graphcore.layers.arguments import rate_argument, seed_config, seed_generator
from graphcore.layers.layer import Layer

# What SELU tends to for very negative inputs: minus its scale times its alpha.
SATURATION = -1.7580993408473766


class AlphaDropout(Layer):
    """During training sets a share of the inputs to SELU's negative limit and rescales (Klambauer et al., 2017).

    Inputs of mean 0 and variance 1 keep both.

    Args:
        rate: share in [0, 1).
        noise_shape: extents of the pattern of dropped elements; see `Dropout`.
        seed: integer or `SeedGenerator`.
        kwargs: see `Layer`.

    Raises:
        ValueError: a rate outside [0, 1).
    """

    supports_masking = True

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rate = rate_argument(rate, "rate", "AlphaDropout")
        if rate == 1:
            raise ValueError("AlphaDropout: rate=1 leaves nothing to rescale. Use a smaller rate.")
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed
        if rate > 0:
            self.seed_generator = seed_generator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Compute the output."""
        if not training or self.rate == 0:
            return inputs
        extents = ops.shape(inputs)
        wanted = self.noise_shape or (None,) * len(extents)
        shape = [extent if own is None else own for own, extent in zip(wanted, extents, strict=True)]
        draw = random.uniform(shape, dtype=self.compute_dtype, seed=self.seed_generator)
        factor = ((1.0 - self.rate) * (1.0 + self.rate * SATURATION**2)) ** -0.5
        kept = ops.where(draw >= self.rate, inputs, SATURATION)
        return kept * factor - factor * SATURATION * self.rate

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "seed": seed_config(self.seed),
            "noise_shape": self.noise_shape,
        }
