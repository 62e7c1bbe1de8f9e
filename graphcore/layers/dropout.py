"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import random
from graphcore.layers.arguments import rate_argument, seed_config, seed_generator
from graphcore.layers.layer import Layer


class Dropout(Layer):
    """During training sets a share of the inputs to 0 and divides the rest by 1 - rate (Srivastava et al., 2014).

    Args:
        rate: share in [0, 1]; 1 gives zeros.
        noise_shape: extents of the pattern of dropped elements: where 1 it is repeated along the axis, None is the
            input's extent.
        seed: integer or `SeedGenerator`; by default drawn from Python's `random` when the layer is made.
        kwargs: see `Layer`.

    The state of the generator moves on with each training call, none without training.

    Raises:
        ValueError: a rate outside [0, 1], or extents that are no positive integers.
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
        self.rate = rate_argument(rate, "rate", type(self).__name__)
        self.seed = seed
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        for extent in self.noise_shape or ():
            if extent is not None and (not isinstance(extent, int) or extent < 1):
                raise ValueError(
                    f"Dropout: expected `noise_shape` to hold positive integers and None. Received: "
                    f"noise_shape={noise_shape}"
                )
        if rate > 0:
            self.seed_generator = seed_generator(seed)

    def pattern_shape(self, inputs: Any) -> Any:
        """Extents of the pattern of dropped elements; None is the input's shape."""
        return self.noise_shape

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Compute the output."""
        if not training or self.rate == 0:
            return inputs
        shape = self.pattern_shape(inputs)
        return random.dropout(inputs, self.rate, noise_shape=shape, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "seed": seed_config(self.seed),
            "noise_shape": self.noise_shape,
        }
