"""`Fused`: a group of primitives that becomes one kernel. Its body is a graph of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compiler.interpret import evaluate_nodes
from compiler.ir import Array, Builder, Fusion, Graph, Op, Value
from compiler.loops import Element, Expr, Lowering
from compiler.ops.registry import op
from compiler.types import TensorType
from runtime.dimensions import Dim


class FusedGroup(Op):
    """A group of primitives that is one kernel: what `Fused` and `FusedSteps` share."""

    body: Graph

    fusion = Fusion.FUSED

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Types of the body's outputs; the inputs must match the body's parameters."""
        expected = tuple(entry.value.type for entry in self.body.inputs)
        if inputs != expected:
            raise ValueError(
                f"{self.name}: the body expects ({', '.join(map(str, expected))}). "
                f"Received: ({', '.join(map(str, inputs))})"
            )
        return tuple(value.type for _, value in self.body.outputs)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Interpret the body."""
        known = {entry.value: array for entry, array in zip(self.body.inputs, inputs, strict=True)}
        evaluate_nodes(self.body.nodes, known, {})
        return tuple(known[value] for _, value in self.body.outputs)

    def gradient(
        self,
        b: Builder,
        cotangents: Sequence[Value | None],
        inputs: Sequence[Value],
        outputs: Sequence[Value],
    ) -> Sequence[Value | None]:
        """Differentiation comes before fusion."""
        raise TypeError(f"op '{self.name}' has no gradient: run the pass 'differentiate' before 'fuse'.")

    def multiply_adds(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Those of what it holds."""
        return self.body.multiply_adds

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """A fused group is a kernel of its own, never part of another."""
        raise TypeError(f"op '{self.name}' cannot be lowered inside another kernel.")

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """None: groups are made and tested by the pass `fuse`."""
        return iter(())


@op
class Fused(FusedGroup):
    """Runs `body` on the inputs; made by the pass `fuse`, lowered as a whole by `compiler.lower`."""

    body: Graph


@op
class FusedSteps(FusedGroup):
    """A group of which only the leading steps matter: its last input, an int32 scalar, says how many.

    The symbol `steps` is the number of all steps; time is the first axis of every tensor that has it. What the results
    hold of the other steps is nowhere read, and what is summed over them is zero.
    """

    body: Graph
    steps: str

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """Types of the body's outputs."""
        if not inputs or inputs[-1] != TensorType((), "int32"):
            given = ", ".join(map(str, inputs))
            raise ValueError(f"fused_steps: the last input is an int32 scalar. Received: ({given})")
        return super().infer(*inputs[:-1])

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Interpret the body, on all steps."""
        return super().reference(*inputs[:-1])
