"""Mean of sequences."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.base_global_pooling import BaseGlobalPooling


class GlobalAveragePooling1D(BaseGlobalPooling):
    """The mean of each channel over the steps; masked steps do not count. Arguments as for `BaseGlobalPooling`.

    Input: (batch, steps, channels). Output: (batch, channels), or (batch, 1, channels) with `keepdims`. The mask ends
    here; a sample whose steps are all masked gives 0 / 0, not a number, as in Keras.
    """

    rank = 1
    supports_masking = True
    reduction = staticmethod(ops.mean)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Compute the output."""
        if mask is None:
            return super().call(inputs)
        (axis,) = self.spatial_axes
        weights = ops.cast(ops.expand_dims(mask, 3 - axis), inputs.dtype)
        total = ops.sum(ops.where(weights > 0, inputs, 0), axis=axis, keepdims=self.keepdims)
        return total / ops.sum(weights, axis=axis, keepdims=self.keepdims)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """No mask: there are no steps left."""
        return
