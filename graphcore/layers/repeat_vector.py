"""A vector as a sequence of itself."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.layers.arguments import positive_integer
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer


class RepeatVector(Layer):
    """(batch, features) -> (batch, n, features).

    Args:
        n: number of repetitions.
        kwargs: see `Layer`.

    Raises:
        TypeError: `n` is no integer.
        ValueError: it is not positive.
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not hasattr(n, "__index__"):
            raise TypeError(f"RepeatVector: expected `n` to be an integer. Received: n={n!r}")
        self.n = positive_integer(n, "n", "RepeatVector")
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        batch, features = ops.shape(inputs)
        return ops.broadcast_to(ops.expand_dims(inputs, 1), (batch, self.n, features))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "n": self.n}
