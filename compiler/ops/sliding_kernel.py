"""What convolutions and their two gradients share: windows that slide over images, in groups of channels."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.ir import Fusion, Op
from compiler.loops import Expr, Lowering
from compiler.ops.checks import require_dtype, require_inputs, require_rank, require_same_dtype
from compiler.ops.spatial import Padding, output_extents, require_spatial, window_positions
from compiler.types import TensorType, product
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.contractions import Contraction

__all__ = ["SlidingKernel", "group_of"]


class SlidingKernel(Op):
    """What the three ops share: the attributes, and how channels fall into groups."""

    fusion = Fusion.CONTRACTION
    strides: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    groups: int

    def check(self, *inputs: TensorType) -> None:
        """Two float or integer tensors of one rank, with valid windows."""
        require_inputs(self.name, inputs, 2)
        require_same_dtype(self.name, *inputs)
        require_dtype(self.name, inputs[0], "number")
        require_rank(self.name, inputs[1], inputs[0].rank, "second input (that of the first)")
        require_spatial(self.name, inputs[0].rank - 2, self.strides, self.padding, self.dilation)
        if self.groups < 1:
            raise ValueError(f"{self.name}: groups must be positive. Received: groups={self.groups}")

    def per_group(self, what: str, count: Dim) -> Dim:
        """Channels in each group."""
        if self.groups != 1 and count % self.groups != 0:
            raise ValueError(f"{self.name}: {what} must be a multiple of groups={self.groups}. Received: {count}")
        return count // self.groups

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """A kernel's taps and channels for each element of the convolution's result: the same for all three."""
        result, kernel = self.result_and_kernel(*inputs, *outputs)
        return result.size * product(kernel.shape[:-1])

    @staticmethod
    @abc.abstractmethod
    def result_and_kernel(
        first: TensorType, second: TensorType, output: TensorType
    ) -> tuple[TensorType, TensorType]:
        """Which of the op's two inputs and its output are shaped as a convolution's result and as its kernel."""

    def described(
        self, kind: str, dtype: str, image: Sequence[Dim], kernel: Sequence[Dim], chunks: int = 1
    ) -> Contraction | None:
        """The contraction of a kind over images and kernels of these shapes; None with three spatial axes."""
        from compiler.contractions import Contraction, ContractionSpec, convolution_geometry

        geometry = convolution_geometry(image, kernel, self.strides, self.padding, self.dilation, self.groups, chunks)
        return None if geometry is None else Contraction(ContractionSpec(kind, dtype), geometry)

    def is_depthwise(self, kernel: TensorType) -> bool:
        """Whether each of several groups has one input channel, and filters."""
        return self.groups > 1 and kernel.shape[-2] == 1 and kernel.shape[-1] != 0

    def outputs_of(self, spatial: Sequence[Dim], kernel: Sequence[Dim]) -> tuple[Dim, ...]:
        """Spatial extents of the convolution's result."""
        return output_extents(self.name, spatial, kernel, self.strides, self.padding, self.dilation)

    def positions(
        self, k: Lowering, x: TensorType, output: Sequence[Expr], offset: Sequence[Expr]
    ) -> tuple[list[Expr], Expr | None]:
        """Where in the input a kernel element falls, and whether that is inside."""
        return window_positions(k, x, output, offset, self.strides, self.padding, self.dilation)


def group_of(k: Lowering, channel: Expr, channels: Dim, groups: int) -> Expr | None:
    """Which group a channel belongs to; None where there is one."""
    return None if groups == 1 else channel // k.extent(channels // groups)
