"""`keras.ops.image`: resizing and patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler import functions as f
from compiler.ir import Builder, Value
from graphcore.ops.convolution import from_channels_last, per_axis, to_channels_last, window_padding
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import to_float
from graphcore.ops.keras_class import keras_class

__all__ = ["extract_patches", "resize", "rgb_to_grayscale"]

_METHODS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")


@keras_class(
    "image",
    "size interpolation antialias crop_to_aspect_ratio pad_to_aspect_ratio fill_mode fill_value data_format",
)
@operation
def resize(
    b: Builder,
    images: Tensor,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Value:
    """Images of another height and width; pixel centres lie at half integers.

    Args:
        images: [height, width, channels] with or without a batch axis, or channels before height.
        size: height and width of the result.
        interpolation: 'nearest', 'bilinear', 'bicubic' (Keys 1981, a = -0.5), 'lanczos3' or 'lanczos5'.
        antialias: widen the filter by the factor of reduction.
        crop_to_aspect_ratio: cut the longer side first, so that nothing is distorted.
        pad_to_aspect_ratio: extend the shorter side with `fill_value` first.
        fill_mode: 'constant'.
        fill_value: number put into padding.
        data_format: where the channels are; `image_data_format()` by default.

    Raises:
        ValueError: for an unknown method, images of another rank, or a symbolic height or width.
    """
    if interpolation not in _METHODS:
        raise ValueError(f"`interpolation` must be one of {_METHODS}. Received: interpolation={interpolation!r}")
    if fill_mode != "constant" or (crop_to_aspect_ratio and pad_to_aspect_ratio):
        raise ValueError(
            "ops.image.resize pads with a constant, and either crops or pads. Received: "
            f"fill_mode={fill_mode!r}, crop_to_aspect_ratio={crop_to_aspect_ratio}, "
            f"pad_to_aspect_ratio={pad_to_aspect_ratio}"
        )
    given, has_batch = _batched(b, images, "resize")
    x, moved = to_channels_last(b, given, data_format)
    target = per_axis(size, 2, "size")
    if not all(isinstance(extent, int) for extent in x.type.shape[1:3]):
        raise ValueError(f"ops.image.resize needs images of known height and width. Received: {images.type}")
    if crop_to_aspect_ratio:
        x = _cropped(b, x, target)
    if pad_to_aspect_ratio:
        x = _padded(b, x, target, fill_value)
    dtype = x.type.dtype
    for axis, extent in zip((1, 2), target, strict=True):
        x = _resized(b, x, axis, extent, interpolation, antialias)
    if dtype != x.type.dtype:
        limits = np.iinfo(dtype)
        x = f.cast(b, f.minimum(b, f.maximum(b, x, float(limits.min)), float(limits.max)), dtype)
    x = from_channels_last(b, x, moved)
    return x if has_batch else f.squeeze(b, x, 0)


def _batched(b: Builder, images: Value, name: str) -> tuple[Value, bool]:
    if images.type.rank not in (3, 4):
        raise ValueError(f"ops.image.{name} takes images with 3 axes, or 4 with a batch. Received: {images.type}")
    has_batch = images.type.rank == 4
    return (images if has_batch else f.expand_dims(b, images, 0)), has_batch


def _cropped(b: Builder, x: Value, target: tuple[int, ...]) -> Value:
    height, width = (int(extent) for extent in x.type.shape[1:3])
    wanted = (min(height, int(width * target[0] / target[1])), min(width, int(height * target[1] / target[0])))
    for axis, (extent, kept) in enumerate(zip((height, width), wanted, strict=True), start=1):
        start = (extent - kept) // 2
        x = f.slice_axis_exact(b, x, axis, start, start + kept)
    return x


def _padded(b: Builder, x: Value, target: tuple[int, ...], value: float) -> Value:
    height, width = (int(extent) for extent in x.type.shape[1:3])
    wanted = (max(height, int(width * target[0] / target[1])), max(width, int(height * target[1] / target[0])))
    before = ((wanted[0] - height) // 2, (wanted[1] - width) // 2)
    after = (wanted[0] - height - before[0], wanted[1] - width - before[1])
    return f.pad(b, x, (0, *before, 0), (0, *after, 0), value)


def _resized(b: Builder, x: Value, axis: int, extent: int, method: str, antialias: bool) -> Value:
    """One axis resampled."""
    source = int(x.type.shape[axis])
    if method == "nearest":
        places = np.floor((np.arange(extent) + 0.5) * source / extent).astype(np.int32)
        return x if extent == source else f.take(b, x, f.constant(b, places), axis)
    if extent == source:
        return to_float(b, x)
    x = to_float(b, x)
    weights = f.constant(b, resampling_weights(source, extent, method, antialias).astype(x.type.dtype))
    return f.move_axis(b, f.tensordot(b, x, weights, ((axis,), (0,))), -1, axis)


def resampling_weights(source: int, target: int, method: str, antialias: bool) -> np.ndarray[Any, Any]:
    """[source, target]: the share of each old pixel in each new one; columns sum to 1."""
    scale = target / source
    widening = max(1 / scale, 1.0) if antialias else 1.0
    centres = (np.arange(target) + 0.5) / scale - 0.5
    distance = np.abs(centres[None, :] - np.arange(source)[:, None]) / widening
    weights = _KERNELS[method](distance)
    total = weights.sum(0, keepdims=True)
    shares: np.ndarray[Any, Any] = np.where(np.abs(total) > 1000 * np.finfo(np.float32).eps, weights / total, 0)
    return shares


def _triangle(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.maximum(0.0, 1.0 - x)


def _keys_cubic(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    inner = ((1.5 * x - 2.5) * x) * x + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x >= 2.0, 0.0, np.where(x >= 1.0, outer, inner))


def _lanczos(radius: float, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0.0)


_KERNELS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "bilinear": _triangle,
    "bicubic": _keys_cubic,
    "lanczos3": lambda x: _lanczos(3.0, x),
    "lanczos5": lambda x: _lanczos(5.0, x),
}


@keras_class("image", "size strides dilation_rate padding data_format")
@operation
def extract_patches(
    b: Builder,
    images: Tensor,
    size: Any,
    strides: Any = None,
    dilation_rate: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Value:
    """Windows of images, flattened: [batch, rows, columns, window height · window width · channels].

    Args:
        images: [height, width, channels] with or without a batch axis, or channels before height.
        size: height and width of a window.
        strides: distance of the windows; their size by default.
        dilation_rate: distance of the pixels in a window.
        padding: 'valid' or 'same' (zeros).
        data_format: where the channels are; `image_data_format()` by default.
    """
    given, has_batch = _batched(b, images, "extract_patches")
    x, moved = to_channels_last(b, given, data_format)
    window = per_axis(size, 2, "size")
    steps = window if strides is None else per_axis(strides, 2, "strides")
    spread = per_axis(dilation_rate, 2, "dilation_rate")
    pads = window_padding(padding, x.type.shape[1:3], window, steps, spread)
    x = f.pad(b, x, (0, *(low for low, _ in pads), 0), (0, *(high for _, high in pads), 0), 0)
    counts = [
        (extent - (k - 1) * d - 1) // s + 1
        for extent, k, d, s in zip(x.type.shape[1:3], window, spread, steps, strict=True)
    ]
    parts = []
    for row in range(window[0]):
        for column in range(window[1]):
            part = x
            for axis, offset in enumerate((row * spread[0], column * spread[1])):
                stop = offset + (counts[axis] - 1) * steps[axis] + 1
                part = f.slice_axis(b, part, axis + 1, offset, stop, steps[axis])
            parts.append(part)
    result = from_channels_last(b, f.concatenate(b, parts, -1), moved)
    return result if has_batch else f.squeeze(b, result, 0)


@keras_class("image", "data_format")
@operation
def rgb_to_grayscale(b: Builder, images: Tensor, data_format: str | None = None) -> Value:
    """Luma of ITU-R BT.601: one channel, 0.2989 R + 0.5870 G + 0.1140 B."""
    given, has_batch = _batched(b, images, "rgb_to_grayscale")
    x, moved = to_channels_last(b, given, data_format)
    if x.type.shape[-1] != 3:
        raise ValueError(f"ops.image.rgb_to_grayscale takes images of 3 channels. Received: {images.type}")
    weights = f.constant(b, np.array([0.2989, 0.5870, 0.1140], to_float(b, x).type.dtype))
    gray = f.reduce_sum(b, f.multiply(b, to_float(b, x), weights), -1, True)
    result = from_channels_last(b, f.cast(b, gray, x.type.dtype), moved)
    return result if has_batch else f.squeeze(b, result, 0)
