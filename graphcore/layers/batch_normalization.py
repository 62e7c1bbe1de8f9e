"""Batch normalisation: Ioffe and Szegedy (2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphcore import config, ops
from graphcore.layers.batch_renormalization import RootOf, checked_clipping, corrections, follow
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
        renorm: normalise in training by running statistics instead of the batch's, as gradients see neither (Ioffe
            2017, "Batch Renormalization"): outputs are `(x̂ · r + d) · gamma + beta` with x̂ normalised by the batch,
            `r = deviation / renorm_stddev` and `d = (mean - renorm_mean) / renorm_stddev` taken as constants.
        renorm_clipping: bounds of these: any of "rmin" and "rmax" for r, "dmax" for the size of d.
        renorm_momentum: of `renorm_mean` and `renorm_stddev`.
        kwargs: see `Layer`.

    float16 inputs are computed in float32. A mask (of one axis less than the inputs) leaves elements out of the
    statistics. Weights: gamma, beta, moving_mean, moving_variance, each (features,); with `renorm` also
    moving_stddev, renorm_mean and renorm_stddev, and moving_variance is `moving_stddev² - epsilon`.

    Raises:
        ValueError: `synchronized`, an unknown extent of `axis`, a mask of another rank, or bounds of `renorm_clipping`
            that are unknown or empty.
    """

    supports_masking = True
    moving_mean_initializer: Any
    moving_variance_initializer: Any
    moving_stddev: Any
    renorm_mean: Any
    renorm_stddev: Any

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
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if synchronized:
            raise ValueError("BatchNormalization: `synchronized=True` needs several devices. Leave it out.")
        self.axis = int(axis)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        self.renorm = renorm
        self.renorm_clipping = checked_clipping(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum
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
        options: dict[str, Any] = {"trainable": False, "autocast": False}
        self.moving_mean = add_named_weight(self, "moving_mean", (features,), **options)
        self.moving_variance = add_named_weight(self, "moving_variance", (features,), **options)
        if self.renorm:
            means, deviations = self.moving_mean_initializer, RootOf(self.moving_variance_initializer)
            for name, initializer in (
                ("moving_stddev", deviations),
                ("renorm_mean", means),
                ("renorm_stddev", deviations),
            ):
                weight = self.add_weight(shape=(features,), name=name, initializer=initializer, **options)
                setattr(self, name, weight)
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
        elif self.renorm:
            mean, variance = self._statistics(x, mask)
            offset, scale = corrections(self, mean, variance, options["offset"], options["scale"])
            follow(self, mean, variance)
            outputs = ops.batch_normalization(x, mean, variance, **{**options, "offset": offset, "scale": scale})
        elif mask is None:
            outputs, mean, variance = normalize_by_batch(x, **options)
            self._follow(mean, variance)
        else:
            mean, variance = self._statistics(x, mask)
            self._follow(mean, variance)
            outputs = ops.batch_normalization(x, mean, variance, **options)
        return ops.cast(outputs, self.compute_dtype)

    def _follow(self, mean: Any, variance: Any) -> None:
        """Move the moving statistics toward those of a batch."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.cast(batch, moving.dtype) * (1.0 - self.momentum))

    def _statistics(self, x: Any, mask: Any) -> tuple[Any, Any]:
        """Mean and biased variance of the batch, of what the mask leaves of it."""
        rank = len(x.shape)
        axes = [axis for axis in range(rank) if axis != self.axis % rank]
        if mask is None:
            mean, variance = ops.moments(x, axes)
            return mean, variance
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
            "renorm": self.renorm,
            "renorm_clipping": self.renorm_clipping,
            "renorm_momentum": self.renorm_momentum,
        }
