"""Initializers that scale their spread to the number of inputs and outputs of a weight.

Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010);
He et al., "Delving deep into rectifiers" (2015); LeCun et al., "Efficient BackProp" (1998).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphcore.initializers.initializer import Array
from graphcore.initializers.random import (
    RandomInitializer,
    draw_normal,
    draw_truncated_normal,
    draw_uniform,
)

# Standard deviation of a unit normal distribution cut at two standard deviations.
TRUNCATED_STANDARD_DEVIATION = 0.87962566103423978

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("uniform", "truncated_normal", "untruncated_normal")


def compute_fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """Number of inputs and outputs (fan_in, fan_out) of a weight.

    Matrices: (rows, columns). Higher ranks are convolution kernels `(*kernel_size, inputs, outputs)`: both
    counts times the kernel's size. Rank 1: both are the length. Where `input_axes` and `output_axes` are
    given, the products of those extents.
    """
    shape = tuple(shape)
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return int(shape[0]), int(shape[0])
    receptive_field = math.prod(shape[:-2])
    return int(shape[-2] * receptive_field), int(shape[-1] * receptive_field)


class VarianceScaling(RandomInitializer):
    """Variance `scale / n`, where n is the number of inputs, outputs, or their mean.

    Args:
        scale: positive factor.
        mode: `"fan_in"`, `"fan_out"` or `"fan_avg"`: what n counts (at least 1).
        distribution: `"uniform"` (limits ±sqrt(3·scale/n)), `"truncated_normal"` (also `"normal"`; the
            standard deviation is corrected for the cut at ±2) or `"untruncated_normal"`.
        seed: integer, `SeedGenerator` or None.
        input_axes: axes of the weight that are inputs, where the convention of `compute_fans` does not hold.
        output_axes: axes that are outputs.

    Raises:
        ValueError: an argument outside the values above.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(seed)
        if scale <= 0.0:
            raise ValueError(f"Expected `scale` to be positive. Received: scale={scale}")
        if mode not in MODES:
            raise ValueError(f"Expected `mode` to be one of {MODES}. Received: mode={mode!r}")
        distribution = distribution.lower()
        distribution = "truncated_normal" if distribution == "normal" else distribution
        if distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"Expected `distribution` to be one of {DISTRIBUTIONS} or 'normal'. "
                f"Received: distribution={distribution!r}"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.input_axes = input_axes
        self.output_axes = output_axes

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """An array of `shape` and `dtype` (None: float32)."""
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, count)
        generator = self.generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return draw_uniform(generator, shape, -limit, limit, dtype)
        if self.distribution == "untruncated_normal":
            return draw_normal(generator, shape, 0.0, math.sqrt(variance), dtype)
        stddev = math.sqrt(variance) / TRUNCATED_STANDARD_DEVIATION
        return draw_truncated_normal(generator, shape, 0.0, stddev, dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class _NamedScaling(VarianceScaling):
    """A variance scaling whose scale, mode and distribution its class fixes."""

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {key: config[key] for key in ("seed", "input_axes", "output_axes")}


class GlorotUniform(_NamedScaling):
    """Uniform within ±sqrt(6 / (fan_in + fan_out)); Keras's default for kernels."""

    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, input_axes, output_axes)


class GlorotNormal(_NamedScaling):
    """Truncated normal with standard deviation sqrt(2 / (fan_in + fan_out))."""

    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, input_axes, output_axes)


class LecunNormal(_NamedScaling):
    """Truncated normal with standard deviation sqrt(1 / fan_in)."""

    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed, input_axes, output_axes)


class LecunUniform(_NamedScaling):
    """Uniform within ±sqrt(3 / fan_in)."""

    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed, input_axes, output_axes)


class HeNormal(_NamedScaling):
    """Truncated normal with standard deviation sqrt(2 / fan_in)."""

    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed, input_axes, output_axes)


class HeUniform(_NamedScaling):
    """Uniform within ±sqrt(6 / fan_in)."""

    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed, input_axes, output_axes)
