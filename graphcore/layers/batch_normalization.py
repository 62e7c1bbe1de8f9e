"""Batch normalisation: Ioffe and Szegedy (2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcore import config, ops
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.layers.weight_arguments import add_named_weight, keep_weight_arguments, weight_config
from graphcore.ops.normalization import normalize_by_batch


class BatchNormalization(Layer):
    """`gamma · (inputs - mean) / sqrt(variance + epsilon) + beta`, one mean and variance for each entry of `axis`.

    In training they are those of the batch (the biased variance), and the moving statistics follow:
    `moving = momentum · moving + (1 - momentum) · batch`, once a call. Otherwise the moving statistics are used.
    `trainable=False` means the latter even in training.

    Args:
        axis: axis of the features; the others are averaged over.
        momentum: of the moving statistics.
        epsilon: added to the variance.
        center: whether to add beta.
        scale: whether to multiply with gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: first values.
        beta_regularizer, gamma_regularizer: penalties.
        beta_constraint, gamma_constraint: projections after each optimizer step.
        synchronized: not supported; there is one device.
        kwargs: see `Layer`.

    float16 inputs are computed in float32. A mask (of one axis less than the inputs) leaves elements out of the
    statistics. Weights: gamma, beta, moving_mean, moving_variance, each (features,).

    Raises:
        ValueError: `synchronized`, an unknown extent of `axis`, or a mask of another rank.
    """

    supports_masking = True

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        # Arguments of Keras's batch renormalisation, off in its configurations.
        if kwargs.pop("renorm", False):
            raise ValueError("BatchNormalization: batch renormalisation (`renorm=True`) is not supported.")
        kwargs.pop("renorm_clipping", None)
        kwargs.pop("renorm_momentum", None)
        super().__init__(**kwargs)
        if synchronized:
            raise ValueError("BatchNormalization: `synchronized=True` needs several devices. Leave it out.")
        self.axis = int(axis)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        keep_weight_arguments(self, "beta", beta_initializer, beta_regularizer, beta_constraint)
        keep_weight_arguments(self, "gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        keep_weight_arguments(self, "moving_mean", moving_mean_initializer)
        keep_weight_arguments(self, "moving_variance", moving_variance_initializer)
        self.gamma: Any = None
        self.beta: Any = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        rank = len(input_shape)
        if not -rank <= self.axis < rank or input_shape[self.axis] is None:
            raise ValueError(
                f"BatchNormalization needs a known extent of axis {self.axis}. Received: "
                f"input_shape={tuple(input_shape)}. Fix: choose another `axis`, or give the extent in `Input`."
            )
        features = input_shape[self.axis]
        assert features is not None
        if self.scale:
            self.gamma = add_named_weight(self, "gamma", (features,), autocast=False)
        if self.center:
            self.beta = add_named_weight(self, "beta", (features,), autocast=False)
        options = {"trainable": False, "autocast": False}
        self.moving_mean = add_named_weight(self, "moving_mean", (features,), **options)
        self.moving_variance = add_named_weight(self, "moving_variance", (features,), **options)
        self.input_spec = InputSpec(ndim=rank, axes={self.axis % rank: features})

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Compute the output."""
        x = ops.cast(inputs, "float32") if inputs.dtype == "float16" else inputs
        options: dict[str, Any] = {
            "axis": self.axis,
            "offset": None if self.beta is None else ops.cast(self.beta, x.dtype),
            "scale": None if self.gamma is None else ops.cast(self.gamma, x.dtype),
            "epsilon": self.epsilon,
        }
        if not (training and self.trainable):
            mean, variance = ops.cast(self.moving_mean, x.dtype), ops.cast(self.moving_variance, x.dtype)
            outputs = ops.batch_normalization(x, mean, variance, **options)
        elif mask is None:
            outputs, mean, variance = normalize_by_batch(x, **options)
            self._follow(mean, variance)
        else:
            mean, variance = self._masked_statistics(x, mask)
            self._follow(mean, variance)
            outputs = ops.batch_normalization(x, mean, variance, **options)
        return ops.cast(outputs, self.compute_dtype)

    def _follow(self, mean: Any, variance: Any) -> None:
        """Move the moving statistics toward those of a batch."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.cast(batch, moving.dtype) * (1.0 - self.momentum))

    def _masked_statistics(self, x: Any, mask: Any) -> tuple[Any, Any]:
        rank = len(x.shape)
        axes = [axis for axis in range(rank) if axis != self.axis % rank]
        if len(mask.shape) != rank - 1:
            raise ValueError(
                f"BatchNormalization: a mask must have one axis less than the inputs. Received: mask of shape "
                f"{tuple(mask.shape)}, inputs of shape {tuple(x.shape)}"
            )
        valid = ops.broadcast_to(ops.expand_dims(mask, -1), ops.shape(x))
        count = ops.sum(ops.cast(valid, x.dtype), axis=axes, keepdims=True) + config.epsilon()
        mean = ops.sum(ops.where(valid, x, 0), axis=axes, keepdims=True) / count
        deviation = ops.where(valid, x - mean, 0)
        variance = ops.sum(ops.square(deviation), axis=axes, keepdims=True) / count
        return ops.reshape(mean, (-1,)), ops.reshape(variance, (-1,))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        weights = weight_config(self, "beta", "gamma", "moving_mean", "moving_variance")
        absent = [f"moving_{name}_{what}" for name in ("mean", "variance") for what in ("regularizer", "constraint")]
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            **{key: value for key, value in weights.items() if key not in absent},
            "synchronized": False,
        }
