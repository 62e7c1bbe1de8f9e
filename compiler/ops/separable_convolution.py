"""A depthwise convolution and the 1x1 convolution behind it as one op, for the CPU.

The pass `join_depthwise` puts it in the place of the two and of what stands between them. What the depthwise
convolution makes then never reaches memory: a block of its pixels stays in the caches until the products read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir import Array
from compiler.ops.checks import require_equal_extents, require_inputs, require_rank, require_same_dtype
from compiler.ops.convolution import Convolution
from compiler.ops.families import GeneratedContraction
from compiler.ops.panels import matrix_of, require_panels
from compiler.ops.registry import op
from compiler.ops.spatial import Padding
from compiler.types import TensorType
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.contractions import Contraction

FINISH_ROWS = 4  # scale, shift, low, high


@op
class SeparableConvolution(GeneratedContraction):
    """(x, panels, kernel, between, behind) -> finish(1x1(finish(depthwise(x, kernel), between), panels), behind).

    finish(y, rows) is min(max(y * scale + shift, low), high), where these four are the rows of `between` [4, channels]
    and of `behind` [4, filters]; NaN passes the bounds. x is [batch, height, width, channels], `kernel` [height, width,
    1, channels]: one filter a channel. `panels` [panels, channels, columns] hold the kernel of the 1x1 convolution, see
    `compiler.ops.panels`. The result is [batch, height, width, filters].
    """

    filters: int
    strides: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Images; all of the same channels, and panels that hold all filters."""
        require_inputs(self.name, inputs, 5)
        x, panels, kernel, between, behind = inputs
        for other in inputs[1:]:
            require_same_dtype(self.name, x, other)
        require_rank(self.name, x, 4, "x")
        channels = x.shape[-1]
        require_panels(self.name, panels, channels, self.filters, "filters")
        for what, rows, wanted in (("between", between, channels), ("behind", behind, self.filters)):
            if rows.shape != (FINISH_ROWS, wanted):
                raise ValueError(f"{self.name}: {what} must be [{FINISH_ROWS}, {wanted}]. Received: {rows}")
        (spread,) = self.depthwise(channels).infer(x, kernel)
        require_equal_extents(self.name, f"channels of {x} and filters of {kernel}", channels, spread.shape[-1])
        return (spread.with_shape(*spread.shape[:-1], self.filters),)

    def depthwise(self, channels: Dim) -> Convolution:
        """The first of the two convolutions."""
        if not isinstance(channels, int):
            raise ValueError(f"{self.name}: channels must be known. Received: {channels}")
        return Convolution(self.strides, self.padding, self.dilation, channels)

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Those of both."""
        kernel, result = inputs[2], outputs[0]
        (spread,) = self.depthwise(inputs[0].shape[-1]).infer(inputs[0], kernel)
        return spread.size * (kernel.shape[0] * kernel.shape[1] + result.shape[-1])

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """Of the depthwise convolution and the filters."""
        from compiler.contractions import Contraction, ContractionSpec, ConvolutionGeometry, SeparableGeometry

        x, _, kernel, *_ = types
        first = self.depthwise(x.shape[-1]).contraction((x, kernel, x))
        assert first is not None  # two spatial axes and a kernel of known size
        assert isinstance(first.geometry, ConvolutionGeometry)
        spec = ContractionSpec("separable_convolution", x.dtype)
        return Contraction(spec, SeparableGeometry(first.geometry, self.filters))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """One after the other."""
        x, panels, kernel, between, behind = inputs
        (spread,) = self.depthwise(x.shape[-1]).reference(x, kernel)
        kernel = matrix_of(panels, self.filters)
        return (_finished(np.einsum("nhwc,cf->nhwf", _finished(spread, between), kernel), behind),)


def _finished(y: Array, rows: Array) -> Array:
    scale, shift, low, high = rows
    return np.asarray(np.minimum(np.maximum(y * scale + shift, low), high))
