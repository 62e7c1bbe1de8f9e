"""What convolution layers of one, two and three spatial axes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import activations, ops
from graphcore.layers.arguments import padding_argument, positive_integer
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config
from graphcore.ops.convolution import per_axis
from graphcore.settings import standardize_data_format


def channel_axis(data_format: str) -> int:
    """The axis that holds the channels."""
    return 1 if data_format == "channels_first" else -1


def known_channels(input_shape: Sequence[int | None], data_format: str, layer: str) -> int:
    """The number of channels of an input.

    Raises:
        ValueError: it is not known.
    """
    channels = input_shape[channel_axis(data_format)]
    if channels is None:
        raise ValueError(
            f"{layer} needs to know the number of channels of its input. Received: "
            f"input_shape={tuple(input_shape)}, data_format={data_format!r}. Fix: give it in `Input(shape=...)`."
        )
    return channels


def add_bias(outputs: Any, bias: Any, data_format: str) -> Any:
    """Add a vector along the channel axis."""
    if data_format == "channels_first":
        bias = ops.reshape(bias, (1, -1) + (1,) * (len(outputs.shape) - 2))
    return ops.add(outputs, bias)


def check_strides(strides: Sequence[int], dilation_rate: Sequence[int], layer: str) -> None:
    """Raise ValueError if both strides and dilation exceed 1."""
    if max(strides) > 1 and max(dilation_rate) > 1:
        raise ValueError(
            f"{layer}: `strides > 1` is not supported together with `dilation_rate > 1`. Received: "
            f"strides={tuple(strides)} and dilation_rate={tuple(dilation_rate)}. Fix: set one of them to 1."
        )


class BaseConv(Layer):
    """Convolution (cross-correlation: the kernel is not flipped) over `rank` spatial axes. See `Conv2D`."""

    rank = 0
    paddings: tuple[str, ...] = ("valid", "same")

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
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
        self.groups = positive_integer(groups, "groups", kind)
        self.kernel_size = per_axis(kernel_size, self.rank, "kernel_size")
        self.strides = per_axis(strides, self.rank, "strides")
        self.dilation_rate = per_axis(dilation_rate, self.rank, "dilation_rate")
        self.padding = padding_argument(padding, kind, self.paddings)
        self.data_format = standardize_data_format(data_format)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        keep_weight_arguments(self, "kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        keep_weight_arguments(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        if self.filters % self.groups:
            raise ValueError(
                f"{kind}: the number of filters must be divisible by the number of groups. Received: "
                f"filters={filters}, groups={groups}"
            )
        check_strides(self.strides, self.dilation_rate, kind)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.bias: Any = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        channels = known_channels(input_shape, self.data_format, type(self).__name__)
        if channels % self.groups:
            raise ValueError(
                f"{type(self).__name__}: the number of input channels must be divisible by the number of groups. "
                f"Received: groups={self.groups}, input_shape={tuple(input_shape)} with {channels} channels"
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = add_named_weight(self, "kernel", shape)
        if self.use_bias:
            self.bias = add_named_weight(self, "bias", (self.filters,))
        axis = channel_axis(self.data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        outputs = ops.conv(
            inputs,
            self.kernel,
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
            "groups": self.groups,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **weight_config(self, "kernel", "bias"),
        }
