"""All axes but the batch as one."""

from __future__ import annotations

import math
from typing import Any

from graphcore import ops
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.settings import standardize_data_format


class Flatten(Layer):
    """(batch, ...) -> (batch, elements); (batch,) -> (batch, 1).

    Args:
        data_format: with `"channels_first"` the channels are moved to the last axis first, so that the order of the
            elements does not depend on the format.
        kwargs: see `Layer`.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        rank = len(inputs.shape)
        if self.data_format == "channels_first" and rank > 2:
            inputs = ops.transpose(inputs, (0, *range(2, rank), 1))
        shape = ops.shape(inputs)
        return ops.reshape(inputs, (shape[0], math.prod(shape[1:])))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "data_format": self.data_format}
