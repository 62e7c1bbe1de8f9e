"""Layer normalisation: Ba et al. (2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.layer import Layer
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config


def normalized_axes(axis: Any, rank: int, layer: str) -> list[int]:
    """Axes counted from 0, in ascending order.

    Raises:
        ValueError: an axis outside the rank.
    """
    axes = [axis] if isinstance(axis, int) else list(axis)
    if any(not -rank <= one < rank for one in axes):
        raise ValueError(f"{layer}: axis {axis} is out of bounds for an input of rank {rank}.")
    return sorted(one % rank for one in axes)


def known_extents(input_shape: Sequence[int | None], axes: Sequence[int], layer: str) -> tuple[int, ...]:
    """Extents of the axes.

    Raises:
        ValueError: one is not known.
    """
    found = []
    for axis in axes:
        extent = input_shape[axis]
        if extent is None:
            raise ValueError(
                f"{layer} needs a known extent of axis {axis}. Received: input_shape={tuple(input_shape)}. "
                f"Fix: give it in `Input(shape=...)`."
            )
        found.append(extent)
    return tuple(found)


class LayerNormalization(Layer):
    """`gamma · (inputs - mean) / sqrt(variance + epsilon) + beta`, with mean and variance of each sample over `axis`.

    Args:
        axis: axis or axes to normalise over.
        epsilon: added to the variance, inside the root.
        center: whether to add beta.
        scale: whether to multiply with gamma.
        beta_initializer, gamma_initializer: first values.
        beta_regularizer, gamma_regularizer: penalties.
        beta_constraint, gamma_constraint: projections after each optimizer step.
        kwargs: see `Layer`.

    Computed in float32 at least. Weights: gamma and beta, of the extents of the normalised axes; with `axis=(1, -1)`
    that of the last axis comes first, as in Keras, and the numbers are in the order of the axes all the same.

    Raises:
        TypeError: `axis` is neither an integer nor several.
        ValueError: an axis out of bounds, or of unknown extent.
    """

    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
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
        if kwargs.pop("rms_scaling", False):
            raise ValueError("LayerNormalization: `rms_scaling` is not supported. Use `RMSNormalization`.")
        super().__init__(**kwargs)
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError(f"LayerNormalization: expected `axis` to be one integer or several. Received: {axis!r}")
        self.axis: int | list[int] = axis if isinstance(axis, int) else list(axis)
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        keep_weight_arguments(self, "beta", beta_initializer, beta_regularizer, beta_constraint)
        keep_weight_arguments(self, "gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self.gamma: Any = None
        self.beta: Any = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        normalized_axes(self.axis, len(input_shape), "LayerNormalization")
        # Keras's order, which its files have: as given, sorted, so that axes counted from the end come first.
        self.axis = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        if not self.scale and not self.center:
            return
        shape = known_extents(input_shape, self.axis, "LayerNormalization")
        if self.scale:
            self.gamma = add_named_weight(self, "gamma", shape, autocast=False)
        if self.center:
            self.beta = add_named_weight(self, "beta", shape, autocast=False)

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        axes = normalized_axes(self.axis, len(inputs.shape), "LayerNormalization")
        outputs = ops.layer_normalization(inputs, self.gamma, self.beta, axis=axes, epsilon=self.epsilon)
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "rms_scaling": False,
            **weight_config(self, "beta", "gamma"),
        }
