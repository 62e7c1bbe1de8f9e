"""One step of convolutional long short-term memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.arguments import padding_argument, positive_integer
from graphcore.layers.base_conv import add_bias, channel_axis, check_strides, known_channels
from graphcore.layers.lstm_cell import advance_memory, forget_bias
from graphcore.layers.rnn_cell import RecurrentCell, States
from graphcore.layers.weight_arguments import add_named_weight
from graphcore.loop_tracing import outside_loops
from graphcore.ops.convolution import per_axis
from graphcore.settings import standardize_data_format


class ConvLSTMCell(RecurrentCell):
    """`LSTMCell` on images: convolutions in the place of products (Shi et al., 2015, without peepholes).

    Args:
        rank: number of spatial axes, 1 to 3.
        filters: channels of the output and of both states.
        kernel_size, strides, padding, data_format, dilation_rate: of the convolution of the inputs; that of the state
            has the same kernel size and pads so that extents stay.
        activation, recurrent_activation: see `LSTMCell`.
        unit_forget_bias: whether the biases of the forget gate begin with 1.
        kwargs: the other arguments of `LSTMCell`. Dropout has patterns of their own for each gate.

    Weights: kernel (*kernel_size, channels, 4 filters), recurrent_kernel (*kernel_size, filters, 4 filters), bias
    (4 filters,).

    Raises:
        ValueError: an argument out of its range; both strides and dilation.
    """

    gates = 4
    state_count = 2

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        unit_forget_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(positive_integer(filters, "filters", "ConvLSTM"), activation, **kwargs)
        self.rank = rank
        self.filters = filters
        self.kernel_size = per_axis(kernel_size, rank, "kernel_size")
        self.strides = per_axis(strides, rank, "strides")
        self.dilation_rate = per_axis(dilation_rate, rank, "dilation_rate")
        self.padding = padding_argument(padding, "ConvLSTM")
        self.data_format = standardize_data_format(data_format)
        check_strides(self.strides, self.dilation_rate, "ConvLSTM")
        self.implementation = 1
        self._use_gates(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias

    @property
    def _channels(self) -> int:
        return channel_axis(self.data_format)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for steps of shape (batch, ..., channels)."""
        channels = known_channels(input_shape, self.data_format, "ConvLSTM")
        self.spatial = self._spatial(input_shape)
        if None in self.spatial:
            raise ValueError(
                f"ConvLSTM needs known spatial extents: its states have them. Received: steps of shape "
                f"{tuple(input_shape)}. Fix: give them in `Input`."
            )
        columns = 4 * self.filters
        self.kernel = add_named_weight(self, "kernel", (*self.kernel_size, channels, columns))
        self._build_recurrent_kernel((*self.kernel_size, self.filters, columns))
        if self.use_bias:
            initial = self.bias_initializer
            self._build_bias_from(forget_bias(initial, self.filters) if self.unit_forget_bias else initial, columns)

    def _spatial(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The extents of the images that states are."""
        extents = list(input_shape[1:])
        del extents[self._channels - 1 if self._channels > 0 else -1]
        return tuple(None if extent is None else self._extent(axis, extent) for axis, extent in enumerate(extents))

    def image_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Of a state, and of the output, for steps of shape (batch, ..., channels)."""
        return self._images(input_shape[0], self._spatial(input_shape))

    def _images(self, batch: Any, spatial: tuple[int | None, ...]) -> tuple[Any, ...]:
        return (batch, self.filters, *spatial) if self._channels == 1 else (batch, *spatial, self.filters)

    def _extent(self, axis: int, extent: int) -> int:
        """Of the output of the inputs' convolution."""
        if self.padding == "same":
            return -(-extent // self.strides[axis])
        window = (self.kernel_size[axis] - 1) * self.dilation_rate[axis] + 1
        return (extent - window) // self.strides[axis] + 1

    def project(self, inputs: Any, training: Any) -> Any:
        """The convolution of the inputs of any number of steps, as images of one batch."""
        step = self.rank + 2
        active = training and 0 < self.dropout < 1
        masks = self.pattern("input", ops.shape(inputs)[-step:], ops.dtype(inputs)) if active else None
        leading = ops.shape(inputs)[: len(inputs.shape) - step + 1]
        options: dict[str, Any] = {"strides": self.strides, "dilation_rate": self.dilation_rate}

        def convolved(images: Any, kernel: Any) -> Any:
            merged = ops.reshape(images, (-1, *ops.shape(images)[1 - step :])) if len(leading) > 1 else images
            return ops.conv(merged, kernel, padding=self.padding, data_format=self.data_format, **options)

        if masks is None:
            outputs = convolved(inputs, self.kernel)
        else:
            kernels = ops.split(self.kernel, 4, axis=-1)
            parts = [convolved(inputs * mask, kernel) for mask, kernel in zip(masks, kernels, strict=True)]
            outputs = ops.concatenate(parts, axis=self._channels)
        if self.bias is not None:
            outputs = add_bias(outputs, self.bias, self.data_format)
        return ops.reshape(outputs, (*leading, *ops.shape(outputs)[1:])) if len(leading) > 1 else outputs

    def recur(self, state: Any, training: Any) -> Any:
        """The convolution of the state."""
        masks = self.recurrent_masks(state, training)
        options = {"padding": "same", "data_format": self.data_format}
        if masks is None:
            return ops.conv(state, self.recurrent_kernel, **options)
        with outside_loops():
            kernels = ops.split(self.recurrent_kernel, 4, axis=-1)
        parts = [ops.conv(state * mask, kernel, **options) for mask, kernel in zip(masks, kernels, strict=True)]
        return ops.concatenate(parts, axis=self._channels)

    def advance(self, projected: Any, states: States, training: Any) -> list[Any]:
        """The output and the carry."""
        gates = ops.split(projected + self.recur(states[0], training), 4, axis=self._channels)
        return advance_memory(gates, states[1], self.activation, self.recurrent_activation)

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros, two images for each entry of the batch."""
        shape = self._images(batch_size, self.spatial)
        return [ops.zeros(shape, dtype=self.compute_dtype) for _ in range(2)]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        config = super().get_config()
        del config["units"]
        return {
            **config,
            **self._gates_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "unit_forget_bias": self.unit_forget_bias,
        }
