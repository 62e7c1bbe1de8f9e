"""Matrix products whose right operand the pass `pack_kernels` has brought into the order of the micro-kernel.

That is a convolution of size 1 over a row of pixels, and the same kernel computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir import Array
from compiler.ops.checks import require_inputs, require_rank, require_same_dtype
from compiler.ops.families import GeneratedContraction
from compiler.ops.panels import matrix_of, require_panels
from compiler.ops.registry import op
from compiler.types import TensorType
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.contractions import Contraction


@op
class PackedMatmul(GeneratedContraction):
    """(x [rows, depth], panels [panels, depth, columns of a panel], whether finite) -> [rows, columns].

    The panels hold a matrix [depth, columns], see `compiler.ops.panels`.
    """

    columns: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The panels must hold all columns, and as many rows as x has columns."""
        require_inputs(self.name, inputs, 3)
        x, panels, finite = inputs
        require_same_dtype(self.name, x, panels)
        require_same_dtype(self.name, x, finite)
        require_rank(self.name, x, 2, "left input")
        require_rank(self.name, finite, 0, "whether finite")
        require_panels(self.name, panels, x.shape[1], self.columns, "columns")
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
        return (np.einsum("mk,kn->mn", x, matrix_of(panels, self.columns)),)
