"""Matrix products whose right operand the pass `pack_kernels` has brought into the order of the micro-kernel.

That is a convolution of size 1 over a row of pixels, and the same kernel computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir import Array
from compiler.ops.checks import require_equal_extents, require_inputs, require_rank, require_same_dtype
from compiler.ops.families import GeneratedContraction
from compiler.ops.registry import op
from compiler.types import TensorType
from runtime.dimensions import Dim, ceil_div

if TYPE_CHECKING:
    from compiler.contractions import Contraction


@op
class PackedMatmul(GeneratedContraction):
    """(x [rows, depth], panels [panels, depth, columns of a panel], whether finite) -> [rows, columns].

    The panels hold a matrix [depth, columns], see `compiler.ops.packed_convolution`.
    """

    columns: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The panels must hold all columns, and as many rows as x has columns."""
        require_inputs(self.name, inputs, 3)
        x, panels, finite = inputs
        require_same_dtype(self.name, x, panels)
        require_same_dtype(self.name, x, finite)
        require_rank(self.name, x, 2, "left input")
        require_rank(self.name, panels, 3, "panels")
        require_rank(self.name, finite, 0, "whether finite")
        require_equal_extents(self.name, f"columns of {x} and rows of {panels}", x.shape[1], panels.shape[1])
        width = panels.shape[2]
        if not isinstance(width, int) or width < 1 or panels.shape[0] != ceil_div(self.columns, width):
            raise ValueError(f"{self.name}: panels must hold {self.columns} columns. Received: {panels}")
        return (x.with_shape(x.shape[0], self.columns),)

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """The inner extent, for each element of the result."""
        return outputs[0].size * inputs[0].shape[1]

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """A packed convolution of size 1 over one line of pixels."""
        from compiler.contractions import Contraction, ContractionSpec, ConvolutionGeometry

        (rows, depth), dtype = types[0].shape, types[0].dtype
        geometry = ConvolutionGeometry((1, 1, rows, depth), (1, 1, depth, self.columns))
        return Contraction(ContractionSpec("convolution", dtype, packed=True), geometry)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The product with the matrix put together again."""
        x, panels, _ = inputs
        matrix = panels.transpose(1, 0, 2).reshape(panels.shape[1], -1)[:, : self.columns]
        return (np.einsum("mk,kn->mn", x, matrix),)
