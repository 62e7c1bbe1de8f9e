"""Matrix products whose right operand the pass `pack_kernels` has brought into the order of the micro-kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir import Array
from compiler.ops.checks import require_inputs, require_same_dtype
from compiler.ops.families import GeneratedContraction
from compiler.ops.panels import matrix_of, require_panels
from compiler.ops.registry import op
from compiler.types import TensorType
from runtime.dimensions import Dim, dim_product

if TYPE_CHECKING:
    from compiler.contractions import Contraction


@op
class PackedMatmul(GeneratedContraction):
    """(x [..., depth], panels [panels, depth, columns of a panel]) -> [..., columns].

    The panels hold a matrix [depth, columns], see `compiler.ops.panels`.
    """

    columns: int

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The panels must hold all columns, and as many rows as x has columns."""
        require_inputs(self.name, inputs, 2)
        x, panels = inputs
        require_same_dtype(self.name, x, panels)
        if x.rank < 2:
            raise ValueError(f"{self.name}: expected a left input of rank 2 or more. Received: {x}")
        require_panels(self.name, panels, x.shape[-1], self.columns, "columns")
        return (x.with_shape(*x.shape[:-1], self.columns),)

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """The inner extent, for each element of the result."""
        return outputs[0].size * inputs[0].shape[-1]

    def contraction(self, types: Sequence[TensorType]) -> Contraction | None:
        """A product with a packed right operand."""
        from compiler.contractions import Contraction, ContractionSpec, MatmulGeometry

        *leading, depth = types[0].shape
        geometry = MatmulGeometry(dim_product(leading), depth, self.columns, a_batched=False, b_batched=False)
        return Contraction(ContractionSpec("matmul", types[0].dtype, packed=True), geometry)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The product with the matrix put together again."""
        x, panels = inputs
        return (np.einsum("...k,kn->...n", x, matrix_of(panels, self.columns)),)
