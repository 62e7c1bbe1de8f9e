"""What separable convolution layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import activations, ops
from graphcore.layers.arguments import padding_argument, positive_integer
from graphcore.layers.base_conv import add_bias, channel_axis, check_strides, known_channels
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config
from graphcore.ops.convolution import per_axis
from graphcore.settings import standardize_data_format


class BaseSeparableConv(Layer):
    """A depthwise convolution, then one with a window of 1. See `SeparableConv2D`."""

    rank = 0

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        kind = type(self).__name__
        self.filters = positive_integer(filters, "filters", kind)
        self.depth_multiplier = positive_integer(depth_multiplier, "depth_multiplier", kind)
        self.kernel_size = per_axis(kernel_size, self.rank, "kernel_size")
        self.strides = per_axis(strides, self.rank, "strides")
        self.dilation_rate = per_axis(dilation_rate, self.rank, "dilation_rate")
        self.padding = padding_argument(padding, kind)
        self.data_format = standardize_data_format(data_format)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        keep_weight_arguments(self, "depthwise", depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        keep_weight_arguments(self, "pointwise", pointwise_initializer, pointwise_regularizer, pointwise_constraint)
        keep_weight_arguments(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        check_strides(self.strides, self.dilation_rate, kind)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.bias: Any = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        channels = known_channels(input_shape, self.data_format, type(self).__name__)
        between = channels * self.depth_multiplier
        shapes = {
            "depthwise": (*self.kernel_size, channels, self.depth_multiplier),
            "pointwise": (*(1,) * self.rank, between, self.filters),
        }
        for name, shape in shapes.items():
            weight = self.add_weight(
                shape=shape,
                name=f"{name}_kernel",
                initializer=getattr(self, f"{name}_initializer"),
                regularizer=getattr(self, f"{name}_regularizer"),
                constraint=getattr(self, f"{name}_constraint"),
            )
            setattr(self, f"{name}_kernel", weight)
        if self.use_bias:
            self.bias = add_named_weight(self, "bias", (self.filters,))
        axis = channel_axis(self.data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        outputs = ops.separable_conv(
            inputs,
            self.depthwise_kernel,  # type: ignore[attr-defined]
            self.pointwise_kernel,  # type: ignore[attr-defined]
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        if self.bias is not None:
            outputs = add_bias(outputs, self.bias, self.data_format)
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "depth_multiplier": self.depth_multiplier,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **weight_config(self, "depthwise", "pointwise", "bias"),
        }
