"""A penalty on activations."""

from __future__ import annotations

from typing import Any

from graphcore import regularizers
from graphcore.layers.layer import Layer


class ActivityRegularization(Layer):
    """Returns its inputs and adds `(l1 · sum(|inputs|) + l2 · sum(inputs²)) / batch size` to the loss.

    Args:
        l1: factor, not negative.
        l2: factor, not negative.
        kwargs: see `Layer`.
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        kwargs["activity_regularizer"] = regularizers.L1L2(l1, l2)
        super().__init__(**kwargs)
        self.l1 = l1
        self.l2 = l2

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        config = {key: value for key, value in super().get_config().items() if key != "activity_regularizer"}
        return {**config, "l1": self.l1, "l2": self.l2}
