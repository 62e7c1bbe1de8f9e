"""The numbers of Winograd's convolution F(4x4, 3x3): four by four results of a 3x3 kernel from a six by six tile.

    Y = A^T [ (G g G^T) * (B^T d B) ] A

with 36 products for each channel and filter instead of 144 (Winograd, Arithmetic Complexity of Computations, 1980;
Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016). The transforms interpolate polynomials at
0, +-5/8, +-3/2 and infinity. The usual points 0, +-1, +-2 and infinity make the error five times that of a plain
float32 sum over 16 channels; these make it 2.3 times (1.8 times over 64 channels). All their powers that the
transforms of images need are exact in float32; on the choice of points: Barabasz et al., Error Analysis and Improving
the Accuracy of Winograd Convolution for Deep Neural Networks, 2020.

The gradient with respect to the kernel uses the transposes: dg = G^T [ sum over tiles of (B^T d B) * (A dY A^T) ] G.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["INNER", "KERNEL", "LEAST_CHANNELS", "OUTER", "POINTS", "TILE", "WINDOW", "image_transform",
           "kernel_transform", "result_transform"]  # fmt: skip

KERNEL = 3  # height and width of the kernel
TILE = 4  # height and width of a tile of results
WINDOW = 6  # height and width of the input tile
POINTS = WINDOW * WINDOW  # products for each channel and filter
INNER, OUTER = 5 / 8, 3 / 2  # the points beside 0 and infinity, each with both signs

# Vectors of channels and of filters may overlap but not be cut: the widest vectors hold this many float32.
LEAST_CHANNELS = 16

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def image_transform() -> Matrix:
    """B^T, [6, 6]: the coefficients of the products of (x - q) over all other points q."""
    a, b = INNER, OUTER
    both, total = (a * b) ** 2, a * a + b * b
    return np.array(
        [
            [both, 0, -total, 0, 1, 0],
            [0, -a * b * b, -b * b, a, 1, 0],
            [0, a * b * b, -b * b, -a, 1, 0],
            [0, -b * a * a, -a * a, b, 1, 0],
            [0, b * a * a, -a * a, -b, 1, 0],
            [0, both, 0, -total, 0, 1],
        ]
    )


def kernel_transform() -> Matrix:
    """G, [6, 3]: the kernel's polynomial at each point, over the product of its distances to the others."""
    rows = [[1 / (INNER * OUTER) ** 2, 0.0, 0.0]]
    for point, other in ((INNER, OUTER), (OUTER, INNER)):
        scale = 1 / (2 * point**2 * (point**2 - other**2))
        rows += [[scale, sign * point * scale, point**2 * scale] for sign in (1, -1)]
    return np.array([*rows, [0.0, 0.0, 1.0]])


def result_transform() -> Matrix:
    """A^T, [4, 6]: powers of the points."""
    points = (0.0, INNER, -INNER, OUTER, -OUTER)
    return np.array([[*(point**power for point in points), float(power == TILE - 1)] for power in range(TILE)])
