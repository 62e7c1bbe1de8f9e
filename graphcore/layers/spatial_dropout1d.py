"""Dropout of whole channels of sequences."""

from __future__ import annotations

from typing import Any

from graphcore.layers.base_spatial_dropout import BaseSpatialDropout
from graphcore.layers.input_spec import InputSpec


class SpatialDropout1D(BaseSpatialDropout):
    """Drops channels at all steps together (Tompson et al., 2015).

    Args:
        rate: share in [0, 1].
        seed: integer or `SeedGenerator`.
        name, dtype, kwargs: see `Layer`.

    Input and output: (batch, steps, channels).
    """

    def __init__(
        self, rate: float, seed: Any = None, name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)
        self.input_spec = InputSpec(ndim=3)

    def pattern_shape(self, inputs: Any) -> Any:
        """One step for all."""
        return (None, 1, None)
