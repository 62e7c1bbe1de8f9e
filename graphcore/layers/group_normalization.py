"""Group normalisation: Wu and He (2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.layers.layer_normalization import known_extents, normalized_axes
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config


class GroupNormalization(Layer):
    """Normalises each sample over groups of channels and all spatial axes, then scales and shifts each channel.

    Args:
        groups: number of groups, a divisor of the channels; -1 makes each channel a group (instance normalisation).
        axis: axis of the channels.
        epsilon: added to the variance.
        center: whether to add beta.
        scale: whether to multiply with gamma.
        beta_initializer, gamma_initializer: first values.
        beta_regularizer, gamma_regularizer: penalties.
        beta_constraint, gamma_constraint: projections after each optimizer step.
        kwargs: see `Layer`.

    Computed in float32 at least. Weights: gamma and beta, each (channels,).

    Raises:
        ValueError: `groups` does not divide the channels, or their number is unknown.
    """

    supports_masking = True

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(groups, int) or (groups <= 0 and groups != -1):
            raise ValueError(
                f"GroupNormalization: expected `groups` to be a positive integer or -1. Received: groups={groups}"
            )
        self.groups = groups
        self.axis = axis
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        keep_weight_arguments(self, "beta", beta_initializer, beta_regularizer, beta_constraint)
        keep_weight_arguments(self, "gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self.gamma: Any = None
        self.beta: Any = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        axes = normalized_axes(self.axis, len(input_shape), "GroupNormalization")
        (channels,) = known_extents(input_shape, axes, "GroupNormalization")
        groups = channels if self.groups == -1 else self.groups
        if channels % groups:
            raise ValueError(
                f"GroupNormalization: the number of channels must be a multiple of the number of groups. Received: "
                f"groups={groups}, input_shape={tuple(input_shape)} with {channels} channels"
            )
        if self.scale:
            self.gamma = add_named_weight(self, "gamma", (channels,), autocast=False)
        if self.center:
            self.beta = add_named_weight(self, "beta", (channels,), autocast=False)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axes[0]: channels})

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        x = ops.cast(inputs, "float32") if inputs.dtype == "float16" else inputs
        rank = len(x.shape)
        axis = self.axis % rank
        extents = ops.shape(x)
        groups = extents[axis] if self.groups == -1 else self.groups
        split = [*extents[:axis], groups, extents[axis] // groups, *extents[axis + 1 :]]
        grouped = ops.reshape(x, split)
        axes = [one for one in range(1, rank + 1) if one != axis]
        mean, variance = ops.moments(grouped, axes=axes, keepdims=True)
        normal = ops.reshape((grouped - mean) * ops.rsqrt(variance + self.epsilon), extents)
        along = [-1 if one == axis else 1 for one in range(rank)]
        if self.gamma is not None:
            normal = normal * ops.reshape(ops.cast(self.gamma, x.dtype), along)
        if self.beta is not None:
            normal = normal + ops.reshape(ops.cast(self.beta, x.dtype), along)
        return ops.cast(normal, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "groups": self.groups,
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            **weight_config(self, "beta", "gamma"),
        }
