"""The gradient of a convolution with respect to its kernel in parts, so that threads can share the sum over images.

The pass `select_kernels` puts it in the place of `convolution_kernel_gradient`. It appears after differentiation and
is lowered by the contraction generator of the CPU only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir import Array
from compiler.ops.checks import require_dtype
from compiler.ops.convolution import ConvolutionKernelGradient
from compiler.ops.families import GeneratedContraction
from compiler.ops.registry import op
from compiler.ops.sliding_kernel import SlidingKernel
from compiler.ops.spatial import Padding, padded
from compiler.types import TensorType
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.contractions import Contraction


@op
class ConvolutionKernelGradientParts(GeneratedContraction, SlidingKernel):
    """(a convolution's input, cotangent of its result) -> `chunks` parts of the cotangent of its kernel.

    The result is [chunks * kernel height, ..., channels / groups, filters]; its parts are still to be added. Part i
    holds the i-th share of the lines of all images, in an order that the shapes decide, so that sums do not depend on
    the threads. With one spatial axis an image is one line; there are no more than two axes.
    """

    kernel_spatial: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    groups: int
    chunks: int

    @property
    def whole(self) -> ConvolutionKernelGradient:
        """The op that gives the sum of all parts."""
        return ConvolutionKernelGradient(self.kernel_spatial, self.strides, self.padding, self.dilation, self.groups)

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """That of the whole, with the parts one behind the other along the first axis."""
        if self.chunks < 1:
            raise ValueError(f"{self.name}: chunks must be positive. Received: chunks={self.chunks}")
        self.check(*inputs)
        if inputs[0].rank > 4:
            raise ValueError(f"{self.name}: there must be one or two spatial axes. Received: {inputs[0]}")
        require_dtype(self.name, inputs[0], "float")
        (kernel,) = self.whole.infer(*inputs)
        return (kernel.with_shape(kernel.shape[0] * self.chunks, *kernel.shape[1:]),)

    @staticmethod
    def result_and_kernel(
        first: TensorType, second: TensorType, output: TensorType
    ) -> tuple[TensorType, TensorType]:
        """(result, all parts)."""
        return second, output

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Those of the whole."""
        return self.whole.multiply_adds(inputs, self.whole.infer(*inputs))

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """That of the whole, in chunks."""
        x, _, parts = types
        kernel = (*self.kernel_spatial, *parts.shape[-2:])
        return self.described("convolution_kernel_gradient", x.dtype, x.shape, kernel, self.chunks)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Line by line of the padded images, each added to its part."""
        x, g = inputs
        source = padded(x, self.padding, 0)
        free = ConvolutionKernelGradient(
            self.kernel_spatial, self.strides, ((0, 0),) * len(self.strides), self.dilation, self.groups
        )
        if g.ndim == 3:
            height, extent, stride, reach = 1, g.shape[1], 0, source.shape[1]
        else:
            height, extent, stride = g.shape[1], 1, self.strides[0]
            reach = (self.kernel_spatial[0] - 1) * self.dilation[0] + 1
        share = -(-g.shape[0] * height // self.chunks)
        kernel = (*self.kernel_spatial, x.shape[-1] // self.groups, g.shape[-1])
        parts = np.zeros((self.chunks, *kernel), x.dtype)
        for line in range(g.shape[0] * height):
            image, y = divmod(line, height)
            met = source[image : image + 1, y * stride : y * stride + reach]
            parts[line // share] += free.reference(met, g[image : image + 1, y : y + extent])[0]
        return (parts.reshape(self.chunks * kernel[0], *kernel[1:]),)
