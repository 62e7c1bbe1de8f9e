"""What pooling layers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from graphcore.layers.arguments import padding_argument
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.ops.convolution import per_axis
from graphcore.settings import standardize_data_format


class BasePooling(Layer):
    """A reduction of each window of `rank` spatial axes. See `MaxPooling2D`."""

    rank = 0
    reduction: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.pool_size = per_axis(pool_size, self.rank, "pool_size")
        self.strides = self.pool_size if strides is None else per_axis(strides, self.rank, "strides")
        self.padding = padding_argument(padding, type(self).__name__)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return type(self).reduction(
            inputs,
            pool_size=self.pool_size,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
        )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
        }
