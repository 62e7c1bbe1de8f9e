"""Rectified linear unit with a learned slope: He et al. (2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config


class PReLU(Layer):
    """`inputs` where positive, `alpha · inputs` elsewhere, with a weight alpha.

    Args:
        alpha_initializer: first value; zeros.
        alpha_regularizer: penalty.
        alpha_constraint: projection after each optimizer step.
        shared_axes: axes (counted from 1) along which alpha is one number, such as `[1, 2]` for images.
        kwargs: see `Layer`.

    Weights: alpha, of the shape of a sample with 1 for shared axes.

    Raises:
        ValueError: an axis of unknown extent that is not shared.
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        keep_weight_arguments(self, "alpha", alpha_initializer, alpha_regularizer, alpha_constraint)
        self.shared_axes = [shared_axes] if isinstance(shared_axes, int) else shared_axes and list(shared_axes)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        shared = self.shared_axes or []
        extents = [1 if axis in shared else extent for axis, extent in enumerate(input_shape)][1:]
        known = tuple(extent for extent in extents if extent is not None)
        if len(known) != len(extents):
            raise ValueError(
                f"PReLU needs known extents on all axes that are not shared. Received: "
                f"input_shape={tuple(input_shape)}, shared_axes={self.shared_axes}. Fix: share the others."
            )
        self.alpha = add_named_weight(self, "alpha", known)
        axes = {axis: extent for axis, extent in enumerate(input_shape) if axis and axis not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=axes if shared else {})

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        return ops.relu(inputs) - self.alpha * ops.relu(-inputs)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), **weight_config(self, "alpha"), "shared_axes": self.shared_axes}
