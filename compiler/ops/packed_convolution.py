"""Convolutions whose kernel the pass `pack_kernels` has brought into the order in which the micro-kernel reads it.

The kernel comes as panels (see `compiler.ops.panels`): the columns are the channels of the result, and there is one row
for each tap and channel that is summed, taps in the order of the driver's phases (see
`compiler.codegen.contraction_convolution`). A third input, one number, is finite where the whole kernel is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir import Array
from compiler.ops.checks import require_inputs, require_rank, require_same_dtype
from compiler.ops.convolution import Convolution, ConvolutionInputGradient
from compiler.ops.families import GeneratedContraction
from compiler.ops.panels import matrix_of, require_panels
from compiler.ops.registry import op
from compiler.ops.spatial import Padding
from compiler.types import TensorType, product
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.contractions import Contraction


@op
class PackedConvolution(GeneratedContraction):
    """(x or cotangent, panels, whether finite) -> what `plain` gives of the kernel of shape `kernel`.

    With `input_spatial` it is the gradient with respect to the input, a transposed convolution; () without.
    """

    kernel: tuple[int, ...]
    input_spatial: tuple[Dim, ...]
    strides: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]

    by_image = True

    @property
    def plain(self) -> Convolution | ConvolutionInputGradient:
        """The op that this one stands for: it takes the kernel as it is."""
        rest = (self.strides, self.padding, self.dilation)
        return ConvolutionInputGradient(self.input_spatial, *rest) if self.input_spatial else Convolution(*rest)

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The type that `plain` gives; the panels must hold all of the kernel."""
        require_inputs(self.name, inputs, 3)
        x, panels, finite = inputs
        require_same_dtype(self.name, x, panels)
        require_same_dtype(self.name, x, finite)
        require_rank(self.name, finite, 0, "whether finite")
        results, summed = self.channels
        require_panels(self.name, panels, product(self.kernel[:-2]) * summed, results, "channels of the result")
        return self.plain.infer(x, x.with_shape(*self.kernel))

    @property
    def channels(self) -> tuple[int, int]:
        """Channels of the result and those summed over."""
        *_, channels, filters = self.kernel
        return (channels, filters) if self.input_spatial else (filters, channels)

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Those of `plain`."""
        return self.plain.multiply_adds((inputs[0], inputs[0].with_shape(*self.kernel)), outputs)

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """That of `plain`, packed."""
        x, *_, result = types
        found = self.plain.contraction((x, x.with_shape(*self.kernel), result))
        if found is None:
            return None
        return dataclasses.replace(found, spec=dataclasses.replace(found.spec, packed=True))

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """What `plain` gives of the kernel put together again."""
        x, panels, _ = inputs
        results, summed = self.channels
        taps = np.empty((product(self.kernel[:-2]), summed, results), panels.dtype)
        taps[tap_order(self.plain, self.kernel)] = matrix_of(panels, results).reshape(taps.shape)
        kernel = taps.swapaxes(1, 2) if self.input_spatial else taps
        return self.plain.reference(x, np.ascontiguousarray(kernel).reshape(self.kernel))


def tap_order(plain: Convolution | ConvolutionInputGradient, kernel: Sequence[int]) -> list[int]:
    """The taps of a kernel, counted row by row, in the order in which the driver of convolutions sums them.

    Those of a forward convolution stay as they are. An input gradient takes phase after phase of the target's pixels
    those that fall on a source pixel: those whose distance from the phase is a multiple of the stride, on each axis.
    """
    taps = list(np.ndindex(*kernel[:-2]))
    if isinstance(plain, Convolution):
        return list(range(len(taps)))
    axes = list(zip(plain.strides, plain.padding, plain.dilation, strict=True))
    order = []
    for phase in np.ndindex(*plain.strides):
        for number, tap in enumerate(taps):
            distances = [p + int(low) - t * step for p, t, (_, (low, _), step) in zip(phase, tap, axes, strict=True)]
            if all(distance % stride == 0 for distance, (stride, _, _) in zip(distances, axes, strict=True)):
                order.append(number)
    return order
