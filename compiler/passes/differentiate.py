"""Reverse-mode differentiation on the graph.

    %g = gradient(%loss, %w)         ->    the nodes that compute d loss / d w

The frontend asks for gradients with the op `Gradient`, so that the graph as traced says what is wanted;
this pass replaces each such node by the nodes of the backward sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compiler import functions as f
from compiler.ir import Array, Builder, Fusion, Graph, Node, Op, Value
from compiler.loops import Element, Expr, Lowering
from compiler.ops.families import reverse_accumulate
from compiler.ops.registry import op
from compiler.ops.scan import Scan
from compiler.ops.scan_joint import with_saved
from compiler.ops.sources import Full
from compiler.passes.context import PassContext
from compiler.rewrite import rewrite
from compiler.types import TensorType, is_float


@op
class Gradient(Op):
    """Cotangents of `inputs[1:]` for a scalar float `inputs[0]`."""

    fusion = Fusion.OPAQUE

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The types of the values differentiated by."""
        if len(inputs) < 2:
            raise TypeError(f"gradient: expected a loss and at least one value. Received: {len(inputs)} inputs")
        if inputs[0].shape or not is_float(inputs[0].dtype):
            raise ValueError(f"gradient: the loss must be a float scalar; reduce it first. Received: {inputs[0]}")
        for type_ in inputs[1:]:
            if not is_float(type_.dtype):
                raise TypeError(f"gradient: can only differentiate by float values. Received: {type_}")
        return inputs[1:]

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """A gradient is a transformation of the graph, not a function of its values."""
        raise TypeError("op 'gradient' cannot be evaluated: run the pass 'differentiate' first.")

    def gradient(
        self, b: Builder, cotangents: Sequence[Value | None], inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Sequence[Value | None]:
        """Inner gradients are expanded first, so that outer ones see plain nodes."""
        raise TypeError("op 'gradient' must be expanded before it is differentiated again.")

    def lower(
        self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]
    ) -> Expr:
        """Never reaches lowering."""
        raise TypeError("op 'gradient' cannot be lowered: run the pass 'differentiate' first.")

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """None: tested through the pass."""
        return iter(())


def emit_gradient(b: Builder, loss: Value, wrt: Sequence[Value]) -> tuple[Value, ...]:
    """Ask for d loss / d value for every value in `wrt`; zeros where the loss does not depend on it."""
    return b.emit_all(Gradient(), loss, *wrt) if wrt else ()


def differentiate(graph: Graph, context: PassContext) -> Graph:
    """Replace every `gradient` node by the backward sweep over the nodes before it."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if isinstance(node.op, Scan):
            return _with_saved(b, node.op, inputs)
        if not isinstance(node.op, Gradient):
            return None
        loss, wrt = inputs[0], inputs[1:]
        seed = b.emit(Full((), 1.0, loss.type.dtype))
        cotangents = reverse_accumulate(b, tuple(b.nodes), {loss: seed}, wrt)
        return [
            b.emit(Full(value.type.shape, 0.0, value.type.dtype)) if found is None else found
            for value, found in zip(wrt, cotangents, strict=True)
        ]

    return rewrite(graph, rule) if any(isinstance(node.op, Gradient) for node in graph.nodes) else graph


def _with_saved(b: Builder, scan: Scan, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
    """The loop that stacks what its derivative will read; what turns out to be unread is dropped later."""
    whole = with_saved(scan)
    if whole is scan:
        return None
    outputs = b.emit_all(whole, *inputs)
    states = [
        value if kept else f.final_state(b, whole, value)
        for value, kept in zip(outputs[: scan.states], scan.kept, strict=True)
    ]
    return [*states, *outputs[scan.states : scan.states + len(scan.stacked)]]
