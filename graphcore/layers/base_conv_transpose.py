"""What transposed convolution layers share."""

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


class BaseConvTranspose(Layer):
    """Transposed convolution over `rank` spatial axes. See `Conv2DTranspose`."""

    rank = 0

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        kind = type(self).__name__
        self.filters = positive_integer(filters, "filters", kind)
        self.kernel_size = per_axis(kernel_size, self.rank, "kernel_size")
        self.strides = per_axis(strides, self.rank, "strides")
        self.dilation_rate = per_axis(dilation_rate, self.rank, "dilation_rate")
        self.padding = padding_argument(padding, kind)
        self.output_padding = _output_padding(output_padding, self.strides, kind)
        self.data_format = standardize_data_format(data_format)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        keep_weight_arguments(self, "kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        keep_weight_arguments(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        check_strides(self.strides, self.dilation_rate, kind)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.bias: Any = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        channels = known_channels(input_shape, self.data_format, type(self).__name__)
        self.kernel = add_named_weight(self, "kernel", (*self.kernel_size, self.filters, channels))
        if self.use_bias:
            self.bias = add_named_weight(self, "bias", (self.filters,))
        axis = channel_axis(self.data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        outputs = ops.conv_transpose(
            inputs,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
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
            "output_padding": self.output_padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **weight_config(self, "kernel", "bias"),
        }


def _output_padding(value: Any, strides: Sequence[int], layer: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    amounts = (value,) * len(strides) if isinstance(value, int) else tuple(value)
    if len(amounts) != len(strides) or any(not 0 <= p < s for p, s in zip(amounts, strides, strict=True)):
        raise ValueError(
            f"{layer}: expected each `output_padding` to be at least 0 and below its stride. Received: "
            f"output_padding={value!r}, strides={tuple(strides)}"
        )
    return amounts
