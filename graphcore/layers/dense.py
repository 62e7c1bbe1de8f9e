"""Fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import activations, ops
from graphcore.layers.arguments import positive_integer, refuse
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config


class Dense(Layer):
    """`activation(inputs @ kernel + bias)`, over the last axis of inputs of any rank >= 2.

    Args:
        units: size of the last axis of the output.
        activation: name or function; None is linear.
        use_bias: whether to add a bias.
        kernel_initializer, bias_initializer: first values; `glorot_uniform` and `zeros`.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties.
        kernel_constraint, bias_constraint: projections after each optimizer step.
        kwargs: see `Layer`.

    Input: (batch, ..., inputs). Output: (batch, ..., units). Weights: kernel (inputs, units), bias (units,).

    Raises:
        ValueError: `units` is no positive integer; inputs of rank 1 or with an unknown last axis.
    """

    def __init__(
        self,
        units: int,
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
        refuse(kwargs, "Dense", "lora_rank", "lora_alpha", "quantization_config")
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive_integer(units, "units", "Dense")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        keep_weight_arguments(self, "kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        keep_weight_arguments(self, "bias", bias_initializer, bias_regularizer, bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True
        self.bias: Any = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"Dense needs to know the last axis of its input. Received: input_shape={tuple(input_shape)}. "
                f"Fix: give it in `Input(shape=...)`."
            )
        self.kernel = add_named_weight(self, "kernel", (inputs, self.units))
        if self.use_bias:
            self.bias = add_named_weight(self, "bias", (self.units,))
        self.input_spec = InputSpec(min_ndim=2, axes={-1: inputs})

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute the output."""
        outputs = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **weight_config(self, "kernel", "bias"),
        }
