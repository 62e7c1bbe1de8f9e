"""Features of mean 0 and variance 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphcore import config, ops
from graphcore.layers.layer import Layer
from graphcore.layers.layer_normalization import known_extents, normalized_axes

Array = np.ndarray[Any, np.dtype[Any]]


class Normalization(Layer):
    """`(inputs - mean) / max(sqrt(variance), epsilon)`, with statistics of the data, not of the batch.

    Args:
        axis: axis or axes that have a mean and variance for each entry; None is one for all.
        mean, variance: the statistics, both or none; without them call `adapt` before use.
        invert: undo the normalisation instead.
        kwargs: see `Layer`.

    Weights without given statistics: mean and variance, of the shape of the axes, and count.

    Raises:
        ValueError: only one of mean and variance, shapes that do not fit, or an axis of unknown extent.
    """

    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        if (mean is None) != (variance is None) or np.shape(mean) != np.shape(variance):
            raise ValueError(
                f"Normalization: give both `mean` and `variance`, of one shape, or none. Received: mean={mean}, "
                f"variance={variance}"
            )
        if mean is not None and np.ndim(mean) > len(self.axis):
            raise ValueError(
                f"Normalization: `mean` has {np.ndim(mean)} axes, but there are only {len(self.axis)} in "
                f"axis={self.axis}."
            )
        self.input_mean = mean
        self.input_variance = variance
        self.invert = invert

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the weights for inputs of this shape."""
        rank = len(input_shape)
        self._kept = normalized_axes(self.axis, rank, "Normalization")
        shape = known_extents(input_shape, self._kept, "Normalization")
        self._broadcast_shape = [1] * rank
        for axis, extent in zip(self._kept, shape, strict=True):
            self._broadcast_shape[axis] = extent
        if self.input_mean is None:
            self.adapt_mean = self.add_weight(shape=shape, name="mean", initializer="zeros", trainable=False)
            self.adapt_variance = self.add_weight(shape=shape, name="variance", initializer="ones", trainable=False)
            self.count = self.add_weight(shape=(), name="count", dtype="int32", initializer="zeros", trainable=False)
            return
        self._mean, self._variance = (
            np.broadcast_to(np.asarray(value, self.compute_dtype), shape).reshape(self._broadcast_shape)
            for value in (self.input_mean, self.input_variance)
        )

    def adapt(self, data: Any) -> None:
        """Set mean and variance to those of the data.

        Args:
            data: an array, or an iterable of batches (of tuples whose first entry is the batch).

        Raises:
            ValueError: statistics were given at construction, no data, or data of another shape.
        """
        if self.input_mean is not None:
            raise ValueError(
                "Normalization: `adapt` has no effect where `mean` and `variance` were given. Leave them out."
            )
        batches: Iterable[Any] = [data] if isinstance(data, np.ndarray) else data
        count, mean, square = 0, np.zeros(()), np.zeros(())
        for entry in batches:
            batch = np.asarray(entry[0] if isinstance(entry, tuple) else entry, np.float64)
            if not self.built:
                self.build(batch.shape)
            count, mean, square = self._add_batch(batch, count, mean, square)
        if count == 0:
            raise ValueError("Normalization: `adapt` received no data. Pass an array or at least one batch.")
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(square / count)

    def _add_batch(self, batch: Array, count: int, mean: Array, square: Array) -> tuple[int, Array, Array]:
        """Count, mean and sum of squared deviations with one more batch (Chan et al., 1983)."""
        axes = tuple(axis for axis in range(batch.ndim) if axis not in self._kept)
        if tuple(batch.shape[axis] for axis in self._kept) != self.adapt_mean.shape:
            raise ValueError(
                f"Normalization: `adapt` received data of shape {batch.shape}, but the layer was built for extents "
                f"{self.adapt_mean.shape} on axes {self._kept}."
            )
        new = math.prod(batch.shape[axis] for axis in axes)
        if new == 0:
            return count, mean, square
        batch_mean = batch.mean(axis=axes)
        total = count + new
        shift = batch_mean - mean
        squares = square + batch.var(axis=axes) * new + shift**2 * (count * new / total)
        return total, mean + shift * (new / total), squares

    def call(self, inputs: Any) -> Any:
        """Compute the output."""
        x = ops.cast(inputs, self.compute_dtype)
        if self.input_mean is not None:
            mean, variance = self._mean, self._variance
        else:
            mean, variance = (
                ops.reshape(ops.cast(weight, self.compute_dtype), self._broadcast_shape)
                for weight in (self.adapt_mean, self.adapt_variance)
            )
        deviation = ops.maximum(ops.sqrt(variance), config.epsilon())
        return mean + x * deviation if self.invert else (x - mean) / deviation

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "invert": self.invert,
            "mean": None if self.input_mean is None else np.asarray(self.input_mean).tolist(),
            "variance": None if self.input_variance is None else np.asarray(self.input_variance).tolist(),
        }
