"""Exponential linear unit."""

from __future__ import annotations

from typing import Any

from graphcore import activations
from graphcore.layers.layer import Layer


class ELU(Layer):
    """`inputs` where positive, `alpha · (exp(inputs) - 1)` elsewhere (Clevert et al., 2016).

    Args:
        alpha: minus the limit for very negative inputs.
        kwargs: see `Layer`.
    """

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return activations.elu(inputs, alpha=self.alpha)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "alpha": self.alpha}
