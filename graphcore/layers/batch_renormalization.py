"""Batch renormalisation: Ioffe, "Batch Renormalization: Towards Reducing Minibatch Dependence in
Batch-Normalized Models" (2017); the part of `BatchNormalization(renorm=True)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphcore import ops
from graphcore.initializers import Initializer

if TYPE_CHECKING:
    from graphcore.layers.batch_normalization import BatchNormalization

BOUNDS = ("rmax", "rmin", "dmax")


class RootOf(Initializer):
    """The square root of what another initializer makes."""

    def __init__(self, initializer: Any) -> None:
        self.initializer = initializer

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """The first value."""
        return ops.sqrt(self.initializer(shape, dtype=dtype))


def checked_clipping(clipping: Mapping[str, float] | None) -> dict[str, float]:
    """The bounds as a dict.

    Raises:
        ValueError: for an unknown bound, or one that leaves nothing.
    """
    bounds = dict(clipping or {})
    unknown = sorted(set(bounds) - set(BOUNDS))
    if unknown:
        raise ValueError(f"`renorm_clipping` takes the keys {', '.join(BOUNDS)}. Received: {', '.join(unknown)}")
    largest, smallest, shift = (bounds.get(name) for name in BOUNDS)
    if largest is not None and smallest is not None and largest < smallest:
        raise ValueError(f"`renorm_clipping` needs rmax from rmin on. Received: rmax={largest}, rmin={smallest}")
    if shift is not None and shift < 0:
        raise ValueError(f"`renorm_clipping` needs a dmax from 0 on. Received: dmax={shift}")
    return bounds


def corrections(layer: BatchNormalization, mean: Any, variance: Any, beta: Any, gamma: Any) -> tuple[Any, Any]:
    """The offset and scale that a batch normalised by its own statistics gets in training, each (features,)."""
    bounds = layer.renorm_clipping or {}
    running = ops.cast(layer.renorm_mean, mean.dtype)
    # A deviation near zero must not be divided by, early in training.
    deviation = ops.maximum(ops.cast(layer.renorm_stddev, mean.dtype), layer.epsilon**0.5)
    r = ops.sqrt(variance + layer.epsilon) / deviation
    d = (mean - running) / deviation
    if bounds.get("rmin") is not None:
        r = ops.maximum(r, bounds["rmin"])
    if bounds.get("rmax") is not None:
        r = ops.minimum(r, bounds["rmax"])
    if bounds.get("dmax") is not None:
        d = ops.clip(d, -bounds["dmax"], bounds["dmax"])
    r, d = ops.stop_gradient(r), ops.stop_gradient(d)
    scale, offset = (r, d) if gamma is None else (r * gamma, d * gamma)
    return (offset if beta is None else offset + beta), scale


def follow(layer: BatchNormalization, mean: Any, variance: Any) -> None:
    """Move the running and the moving statistics toward those of a batch."""
    deviation = ops.sqrt(variance + layer.epsilon)
    for variable, batch, momentum in (
        (layer.renorm_mean, mean, layer.renorm_momentum),
        (layer.renorm_stddev, deviation, layer.renorm_momentum),
        (layer.moving_mean, mean, layer.momentum),
        (layer.moving_stddev, deviation, layer.momentum),
    ):
        variable.assign(variable * momentum + ops.cast(batch, variable.dtype) * (1.0 - momentum))
    moving = ops.convert_to_tensor(layer.moving_stddev)
    layer.moving_variance.assign(ops.relu(moving * moving - layer.epsilon))
