"""Matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Fusion, Op, Value
from compiler.loops import Element, Expr, Lowering
from compiler.ops.checks import (
    require_dtype,
    require_equal_extents,
    require_inputs,
    require_rank,
    require_same_dtype,
)
from compiler.ops.families import Cotangents, received
from compiler.ops.registry import op
from compiler.types import TensorType, product
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.contractions import Contraction


@op
class Matmul(Op):
    """Matrix product of the last two axes: [*batch, m, k] and [*batch, k, n] give [*batch, m, n].

    `transpose_a` and `transpose_b` say that an operand is stored as [*batch, k, m] or [*batch, n, k]. The
    right operand may also have rank 2 and is then the same for the whole batch.
    """

    transpose_a: bool = False
    transpose_b: bool = False

    fusion = Fusion.CONTRACTION

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Batch axes and inner extents must agree."""
        require_inputs(self.name, inputs, 2)
        a, c = inputs
        require_same_dtype(self.name, a, c)
        require_dtype(self.name, a, "number")
        require_rank(self.name, a, 2, "left input", at_least=True)
        if c.rank not in (2, a.rank):
            raise ValueError(
                f"{self.name}: the right input must have rank 2 or that of the left one, {a.rank}. "
                f"Received: {a} and {c}"
            )
        if c.rank > 2:
            for axis, (left, right) in enumerate(zip(a.shape[:-2], c.shape[:-2], strict=True)):
                require_equal_extents(self.name, f"extents of batch axis {axis}", left, right)
        m, inner_a = reversed(a.shape[-2:]) if self.transpose_a else a.shape[-2:]
        inner_c, n = reversed(c.shape[-2:]) if self.transpose_b else c.shape[-2:]
        if inner_a != inner_c:
            require_equal_extents(self.name, f"inner extents of {a} and {c}{self._flags()}", inner_a, inner_c)
        return (a.with_shape(*a.shape[:-2], m, n),)

    def _flags(self) -> str:
        names = [name for name in ("transpose_a", "transpose_b") if getattr(self, name)]
        return f" with {' and '.join(names)}" if names else ""

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """NumPy's einsum, which sums in the arrays' own dtype."""
        left = "...km" if self.transpose_a else "...mk"
        right = ("..." if inputs[1].ndim > 2 else "") + ("nk" if self.transpose_b else "kn")
        return (np.einsum(f"{left},{right}->...mn", *inputs),)

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """Two more products, transposed so that no operand has to be copied."""
        g, (a, c) = received(cotangents), inputs
        return self._of_left(b, g, c), self._of_right(b, g, a, c)

    def _of_left(self, b: Builder, g: Value, c: Value) -> Value:
        if not self.transpose_a:
            return b.emit(Matmul(False, not self.transpose_b), g, c)
        if c.type.rank == g.type.rank:
            return b.emit(Matmul(self.transpose_b, True), c, g)
        return f.swap_last_axes(b, b.emit(Matmul(False, not self.transpose_b), g, c))

    def _of_right(self, b: Builder, g: Value, a: Value, c: Value) -> Value:
        transposed = self.transpose_a
        if c.type.rank < a.type.rank:
            # One right operand for the whole batch: the batch joins the rows that are summed over.
            a, transposed = f.swap_last_axes(b, a) if transposed else a, False
            a, g = (f.reshape(b, value, (-1, value.type.shape[-1])) for value in (a, g))
        if self.transpose_b:
            return b.emit(Matmul(True, transposed), g, a)
        return b.emit(Matmul(not transposed, False), a, g)

    def can_run_over_steps(self, inputs: Sequence[Value]) -> bool:
        """Where a kernel's gradient is summed over the rows of both operands: the steps' rows join them."""
        return self.transpose_a and not self.transpose_b and all(value.type.rank == 2 for value in inputs)

    def over_steps(self, b: Builder, stacks: Sequence[Value]) -> Value:
        """One product over the rows of all steps."""
        return b.emit(self, *(f.reshape(b, stack, (-1, stack.type.shape[-1])) for stack in stacks))

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """The inner extent, for each element of the result."""
        return outputs[0].size * inputs[0].shape[-2 if self.transpose_a else -1]

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        """With one right operand for all, the batch is just more rows, unless a is transposed."""
        from compiler.contractions import Contraction, ContractionSpec, MatmulGeometry

        a, c, result = types
        rows, columns = result.shape[-2:]
        depth, batch = a.shape[-2 if self.transpose_a else -1], product(result.shape[:-2])
        if c.rank == 2 and not self.transpose_a and a.rank > 2:
            rows, batch = rows * batch, 1
        spec = ContractionSpec("matmul", a.dtype, self.transpose_a, self.transpose_b)
        return Contraction(spec, MatmulGeometry(rows, depth, columns, batch, a.rank > 2, c.rank > 2))

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The inner product of a row and a column."""
        a, c, _ = types
        *batch, row, column = index
        inner = a.shape[-2] if self.transpose_a else a.shape[-1]

        def body(i: tuple[Expr, ...]) -> Expr:
            left = [*batch, i[0], row] if self.transpose_a else [*batch, row, i[0]]
            right = [column, i[0]] if self.transpose_b else [i[0], column]
            return inputs[0](left) * inputs[1](([*batch] if c.rank > 2 else []) + right)

        return k.reduce("add", a.dtype, [inner], body)

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """All four storage orders; without a batch, with one, and with one right operand for all."""
        rng = np.random.default_rng(22)
        for transpose_a in (False, True):
            for transpose_b in (False, True):
                for lead_a, lead_b in (((), ()), ((2, 3), (2, 3)), ((4,), ())):
                    left = (7, 3) if transpose_a else (3, 7)
                    right = (5, 7) if transpose_b else (7, 5)
                    arrays = rng.normal(size=lead_a + left), rng.normal(size=lead_b + right)
                    yield cls(transpose_a, transpose_b), arrays
        yield cls(), (rng.normal(size=(1, 33)), rng.normal(size=(33, 1)))
        yield cls(), (rng.normal(size=(2, 0)), rng.normal(size=(0, 3)))
        yield cls(), (rng.integers(-5, 5, (3, 4)), rng.integers(-5, 5, (4, 2)))
