"""What global pooling layers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.settings import standardize_data_format


class BaseGlobalPooling(Layer):
    """A reduction of all `rank` spatial axes to one element a channel.

    Args:
        data_format: `"channels_last"` (default) or `"channels_first"`.
        keepdims: keep the spatial axes with size 1.
        kwargs: see `Layer`.
    """

    rank = 0
    reduction: ClassVar[Callable[..., Any]]

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=self.rank + 2)

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """The axes that are reduced."""
        first = 2 if self.data_format == "channels_first" else 1
        return tuple(range(first, first + self.rank))

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return type(self).reduction(inputs, axis=self.spatial_axes, keepdims=self.keepdims)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "data_format": self.data_format, "keepdims": self.keepdims}
