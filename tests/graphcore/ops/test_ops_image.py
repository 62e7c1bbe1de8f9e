"""Resizing against worked-out pixels and sampled polynomials; patches against slices."""

from __future__ import annotations

import numpy as np
import pytest

from graphcore import ops
from graphcore.layers import Input

RNG = np.random.default_rng(4)
X = RNG.normal(size=(2, 6, 8, 3)).astype(np.float32)


def test_nearest_repeats_or_picks_the_pixel_under_the_centre(three_ways):
    three_ways(lambda x: ops.image.resize(x, (12, 16), "nearest"), (X,), X.repeat(2, 1).repeat(2, 2), batch=2)
    three_ways(lambda x: ops.image.resize(x, (3, 4), "nearest"), (X,), X[:, 1::2, 1::2], batch=2)


def test_bilinear_doubles_with_quarters_and_repeats_the_edge(three_ways):
    row = np.array([0.0, 4.0, 8.0], np.float32).reshape(1, 1, 3, 1)
    expected = np.array([0, 1, 3, 5, 7, 8], np.float32).reshape(1, 1, 6, 1)
    three_ways(lambda x: ops.image.resize(x, (1, 6)), (row,), expected)
    halved = (X[:, :, 0::2] + X[:, :, 1::2]) / 2
    three_ways(lambda x: ops.image.resize(x, (6, 4)), (X,), halved, batch=2)


@pytest.mark.parametrize(("method", "degree"), [("bilinear", 1), ("bicubic", 2)])
def test_polynomials_are_reproduced_away_from_the_edge(method, degree):
    """Linear interpolation is exact for lines, Keys's cubic for parabolas."""
    polynomial = np.polynomial.Polynomial(np.arange(1, degree + 2))
    image = np.tile(polynomial(np.arange(20.0)), (4, 1))[None, :, :, None]
    resized = ops.image.resize(image, (4, 50), method)[0, 0, :, 0]
    centres = (np.arange(50) + 0.5) * 20 / 50 - 0.5
    inside = (centres > 2) & (centres < 17)
    np.testing.assert_allclose(resized[inside], polynomial(centres)[inside], rtol=1e-9)


@pytest.mark.parametrize("method", ["bilinear", "bicubic", "lanczos3", "lanczos5"])
@pytest.mark.parametrize("antialias", [False, True])
def test_a_constant_image_stays_constant(method, antialias):
    image = np.full((1, 7, 9, 2), 3.0, np.float32)
    for size in [(3, 4), (11, 20), (7, 1)]:
        np.testing.assert_allclose(ops.image.resize(image, size, method, antialias), 3.0, rtol=1e-5)


def test_antialiasing_averages_all_pixels():
    checks = np.indices((16, 16)).sum(0)[None, :, :, None] % 2 * 1.0
    assert np.abs(ops.image.resize(checks, (4, 4), antialias=True) - 0.5).max() < 0.02


def test_formats_ratios_and_element_types():
    first = ops.image.resize(np.moveaxis(X, -1, 1), (3, 5), data_format="channels_first")
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), ops.image.resize(X, (3, 5)), rtol=1e-6)
    assert ops.image.resize(X[0], (3, 5)).shape == (3, 5, 3)
    whole = np.arange(12, dtype=np.uint8).reshape(1, 2, 6, 1)
    assert ops.image.resize(whole, (4, 12)).dtype == np.uint8
    cropped = ops.image.resize(X, (3, 3), "nearest", crop_to_aspect_ratio=True)
    np.testing.assert_array_equal(cropped, ops.image.resize(X[:, :, 1:7], (3, 3), "nearest"))
    padded = ops.image.resize(X, (4, 4), "nearest", pad_to_aspect_ratio=True, fill_value=9)
    np.testing.assert_array_equal(padded[:, 0], X[:, 0, 1::2])
    assert (padded[:, 3] == 9).all()


@pytest.mark.parametrize(
    ("size", "strides", "rate", "padding"), [(2, None, 1, "valid"), ((3, 2), 1, 1, "same"), (2, 2, 2, "valid")]
)
def test_patches(size, strides, rate, padding):
    height, width = (size, size) if isinstance(size, int) else size
    step = (height, width) if strides is None else (strides, strides)
    image = X
    if padding == "same":
        image = np.pad(X, [(0, 0), ((height - 1) // 2, height // 2), ((width - 1) // 2, width // 2), (0, 0)])
    rows = [
        [
            image[:, i : i + (height - 1) * rate + 1 : rate, j : j + (width - 1) * rate + 1 : rate].reshape(2, -1)
            for j in range(0, image.shape[2] - (width - 1) * rate, step[1])
        ]
        for i in range(0, image.shape[1] - (height - 1) * rate, step[0])
    ]
    expected = np.stack([np.stack(row, 1) for row in rows], 1)
    result = ops.image.extract_patches(X, size, strides, rate, padding)
    np.testing.assert_array_equal(result, expected)
    assert ops.image.extract_patches(Input((6, 8, 3)), size, strides, rate, padding).shape == (
        None,
        *expected.shape[1:],
    )


def test_grayscale_and_errors():
    gray = ops.image.rgb_to_grayscale(X)
    np.testing.assert_allclose(gray[..., 0], X @ np.array([0.2989, 0.587, 0.114]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="interpolation='cubic'"):
        ops.image.resize(X, (3, 3), "cubic")
    with pytest.raises(ValueError, match="known height and width"):
        ops.image.resize(Input((None, 8, 3)), (3, 3))
    with pytest.raises(ValueError, match="3 axes, or 4"):
        ops.image.resize(X[0, 0], (3, 3))
