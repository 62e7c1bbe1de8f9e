"""Dropout of whole channels of volumes."""

from __future__ import annotations

from typing import Any

from graphcore.layers.base_spatial_dropout import BaseSpatialDropout
from graphcore.layers.input_spec import InputSpec
from graphcore.settings import standardize_data_format


class SpatialDropout3D(BaseSpatialDropout):
    """Drops channels at all voxels together (Tompson et al., 2015).

    Args:
        rate: share in [0, 1].
        data_format: `"channels_last"` (default) or `"channels_first"`.
        seed: integer or `SeedGenerator`.
        name, dtype, kwargs: see `Layer`.

    Input and output: (batch, depth, height, width, channels).
    """

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=5)

    def pattern_shape(self, inputs: Any) -> Any:
        """One voxel for all."""
        first = self.data_format == "channels_first"
        return (None, None, 1, 1, 1) if first else (None, 1, 1, 1, None)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "data_format": self.data_format}
