"""Winograd's form of 3x3 convolutions with stride 1, which the pass `select_kernels` puts in the place of direct ones.

The convolution takes a transformed kernel [36, channels, filters], which the pass makes with a matrix product. Numbers
and sources: `compiler.winograd`. They appear after differentiation and are lowered by the contraction generator of
the CPU only.

Not finite numbers spread: one in the input reaches every result it has a product with, and may reach the others of
the 4x4 tiles that read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir import Array
from compiler.ops.checks import (
    concrete,
    require_dtype,
    require_equal_extents,
    require_inputs,
    require_rank,
    require_same_dtype,
)
from compiler.ops.families import GeneratedContraction
from compiler.ops.registry import op
from compiler.ops.spatial import Padding, output_extents, require_spatial
from compiler.types import TensorType
from compiler.winograd import (
    KERNEL,
    LEAST_CHANNELS,
    POINTS,
    TILE,
    WINDOW,
    image_transform,
    kernel_transform,
    result_transform,
)
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.contractions import Contraction

ONES = (1, 1)


class WinogradOp(GeneratedContraction):
    """What both ops share: the padding, and how images fall into tiles."""

    padding: Padding

    def output_extents(self, spatial: Sequence[Dim]) -> tuple[Dim, ...]:
        """Height and width of the convolution's result."""
        return output_extents(self.name, spatial, (KERNEL, KERNEL), ONES, self.padding, ONES)

    def check_images(self, images: Sequence[TensorType]) -> None:
        """Float images [batch, height, width, channels] with channels enough for a vector."""
        for number, image in enumerate(images):
            require_rank(self.name, image, 4, f"input {number}")
            require_dtype(self.name, image, "float")
            channels = image.shape[-1]
            if not isinstance(channels, int) or channels < LEAST_CHANNELS:
                raise ValueError(f"{self.name}: images must have at least {LEAST_CHANNELS} channels. Received: {image}")
        require_spatial(self.name, 2, ONES, self.padding)

    def described(self, kind: str, x: TensorType, filters: Dim, chunks: int = 1) -> Contraction | None:
        """The contraction of a kind, in the extents of the direct 3x3 convolution of images x."""
        from compiler.contractions import Contraction, ContractionSpec, convolution_geometry

        kernel = (KERNEL, KERNEL, x.shape[-1], filters)
        geometry = convolution_geometry(x.shape, kernel, ONES, self.padding, ONES, chunks=chunks)
        return None if geometry is None else Contraction(ContractionSpec(kind, x.dtype), geometry)

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Those of the direct convolution that it stands for, though it makes fewer."""
        x, *rest = inputs
        spread = [type_ for type_ in (*rest, *outputs) if type_.rank == x.rank]  # the result, or its cotangent
        return spread[0].size * x.shape[-1] * KERNEL * KERNEL


@op
class WinogradConvolution(WinogradOp):
    """(x, transformed kernel [36, channels, filters]) -> [batch, height, width, filters]."""

    padding: Padding

    by_image = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Channels must agree; the kernel is 3x3, strides and dilation are 1."""
        require_inputs(self.name, inputs, 2)
        require_same_dtype(self.name, *inputs)
        x, u = inputs
        self.check_images([x])
        require_rank(self.name, u, 3, "transformed kernel")
        require_equal_extents(self.name, f"points of {u}", u.shape[0], POINTS)
        require_equal_extents(self.name, f"channels of input {x} and kernel {u}", x.shape[-1], u.shape[1])
        if not isinstance(u.shape[2], int) or u.shape[2] < LEAST_CHANNELS:
            raise ValueError(f"{self.name}: at least {LEAST_CHANNELS} filters are needed. Received: {u}")
        return (x.with_shape(x.shape[0], *self.output_extents(x.shape[1:-1]), u.shape[2]),)

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """The filters are the result's channels."""
        return self.described("winograd_convolution", types[0], types[2].shape[-1])

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The formula, tile by tile, with matrices in the precision of the input."""
        x, u = inputs
        output = concrete(self.output_extents(x.shape[1:-1]))
        products = np.matmul(_image_tiles(x, self.padding, output), u)
        tiles = _sandwich(result_transform(), products.reshape(WINDOW, WINDOW, -1, u.shape[-1]))
        grid = [-(-extent // TILE) for extent in output]
        tiles = tiles.reshape(TILE, TILE, x.shape[0], *grid, u.shape[-1]).transpose(2, 3, 0, 4, 1, 5)
        images = tiles.reshape(x.shape[0], grid[0] * TILE, grid[1] * TILE, u.shape[-1])
        return (np.ascontiguousarray(images[:, : output[0], : output[1]]),)


@op
class WinogradKernelGradient(WinogradOp):
    """(a convolution's input, cotangent of its result) -> `chunks` parts of the cotangent of its kernel.

    The result is [chunks * 3, 3, channels, filters]; its parts, three rows each, are still to be added. Part i holds
    the i-th share of the tiles, in an order that the shapes decide, so that sums do not depend on the threads.
    """

    padding: Padding
    chunks: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The cotangent must have the shape of the convolution's result."""
        require_inputs(self.name, inputs, 2)
        require_same_dtype(self.name, *inputs)
        x, g = inputs
        self.check_images([x, g])
        if self.chunks < 1:
            raise ValueError(f"{self.name}: chunks must be positive. Received: chunks={self.chunks}")
        expected = (x.shape[0], *self.output_extents(x.shape[1:-1]))
        for axis, (extent, wanted) in enumerate(zip(g.shape[:-1], expected, strict=True)):
            what = f"extent of the cotangent and of the convolution's result on axis {axis}"
            require_equal_extents(self.name, what, extent, wanted)
        return (x.with_shape(self.chunks * KERNEL, KERNEL, x.shape[-1], g.shape[-1]),)

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """The filters are the cotangent's channels."""
        return self.described("winograd_kernel_gradient", types[0], types[1].shape[-1], self.chunks)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Shares of rows of tiles, counted through all images."""
        x, g = inputs
        output = g.shape[1:-1]
        grid = [-(-extent // TILE) for extent in output]
        images = _image_tiles(x, self.padding, output)
        widths = [(0, 0), *((0, n * TILE - extent) for n, extent in zip(grid, output, strict=True)), (0, 0)]
        whole = np.pad(g, widths).reshape(g.shape[0], grid[0], TILE, grid[1], TILE, g.shape[-1])
        tiles = whole.transpose(2, 4, 0, 1, 3, 5).reshape(TILE, TILE, -1, g.shape[-1])
        results = _sandwich(result_transform().T, tiles).reshape(POINTS, -1, g.shape[-1])
        rows = g.shape[0] * grid[0]
        share = -(-rows // self.chunks) * grid[1]
        parts = []
        for begin in range(0, self.chunks * share, share):
            points = np.matmul(images[:, begin : begin + share].swapaxes(1, 2), results[:, begin : begin + share])
            parts.append(_sandwich(kernel_transform().T, points.reshape(WINDOW, WINDOW, *points.shape[1:])))
        return (np.concatenate(parts),)


def _sandwich(transform: np.ndarray, tiles: Array) -> Array:
    """T d T^T over the first two axes of `tiles`, in their precision."""
    matrix = transform.astype(tiles.dtype)
    half = np.tensordot(matrix, tiles, (1, 0))
    return np.moveaxis(np.tensordot(matrix, half, (1, 1)), 0, 1)


def _image_tiles(x: Array, padding: Padding, output: Sequence[int]) -> Array:
    """B^T d B of all tiles of all images: [36, tiles, channels]."""
    grid = [-(-extent // TILE) for extent in output]
    widths = [(0, 0)]
    for extent, (low, _), count in zip(x.shape[1:-1], concrete_pairs(padding), grid, strict=True):
        widths.append((low, max(0, count * TILE + KERNEL - 1 - extent - low)))
    whole = np.pad(x, [*widths, (0, 0)])
    view = np.lib.stride_tricks.sliding_window_view(whole, (WINDOW, WINDOW), (1, 2))[:, ::TILE, ::TILE]
    view = view[:, : grid[0], : grid[1]]  # [images, rows, columns, channels, 6, 6]
    tiles = np.ascontiguousarray(view.transpose(4, 5, 0, 1, 2, 3)).reshape(WINDOW, WINDOW, -1, x.shape[-1])
    return _sandwich(image_transform(), tiles).reshape(POINTS, -1, x.shape[-1])


def concrete_pairs(padding: Padding) -> list[tuple[int, ...]]:
    """The padding as numbers."""
    return [tuple(concrete(pair)) for pair in padding]
