"""Abstract families of ops: what the members share is written once."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from compiler.ir import Array, Builder, Fusion, Node, Op, Value
from compiler.loops import Element, Expr, Lowering
from compiler.ops.checks import require_dtype, require_inputs
from compiler.ops.registry import OPS
from compiler.types import TensorType

Cotangents = Sequence[Value | None]


def received(cotangents: Cotangents) -> Value:
    """The cotangent of an op's only result: differentiation never asks an op that got none."""
    (cotangent,) = cotangents
    if cotangent is None:
        raise ValueError("gradient needs a cotangent for at least one result")
    return cotangent


class Late(Op):
    """An op that a pass makes for the CPU, most after differentiation. Other targets never see it."""

    def gradient(
        self, b: Builder, cotangents: Cotangents, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Cotangents:
        """Differentiation comes before the pass that makes this op."""
        raise TypeError(f"op '{self.name}' has no gradient: run the pass 'differentiate' before what makes this op.")

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """Never scalar by scalar: the schedule of its kernel knows it."""
        raise TypeError(f"op '{self.name}' is not computed scalar by scalar.")

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """None: the tests of the pass that makes this op run it."""
        return iter(())


class GeneratedContraction(Late):
    """A form of contraction that a pass chooses for the CPU, for what the contraction generator makes of it."""

    fusion = Fusion.CONTRACTION


class GeneratedKernel(Late):
    """A kernel of its own, whose generator is that of the op's name in `compiler.codegen.generated`."""

    fusion = Fusion.GENERATED


class Elementwise(Op):
    """Same-shape map. Subclasses give the scalar formula once; every target shares it."""

    fusion = Fusion.ELEMENTWISE
    arity: ClassVar[int] = 1
    accepts: ClassVar[str] = "number"  # which element types, a key of checks.ACCEPTED
    result_dtype: ClassVar[str | None] = None  # None: the dtype of the inputs
    domain: ClassVar[tuple[float, float]] = (-2.0, 2.0)  # where samples are drawn from

    @abc.abstractmethod
    def scalar(self, *x: Expr) -> Expr:
        """The formula on typed scalars."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """All inputs share shape and dtype."""
        require_inputs(self.name, inputs, self.arity)
        if len(set(inputs)) != 1:
            raise ValueError(
                f"{self.name}: inputs must have one type (broadcast and cast are ops of their own). "
                f"Received: {' and '.join(map(str, inputs))}"
            )
        require_dtype(self.name, inputs[0], self.accepts)
        return (inputs[0] if self.result_dtype is None else inputs[0].with_dtype(self.result_dtype),)

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """The formula at one index."""
        return self.scalar(*(element(index) for element in inputs))

    @classmethod
    def samples(cls) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        """Odd shapes, drawn from the op's domain."""
        rng = np.random.default_rng(0)
        for shape in ((), (7,), (3, 5), (2, 3, 17)):
            if cls.accepts == "bool":
                yield cls(), tuple(rng.random(shape) < 0.5 for _ in range(cls.arity))
            else:
                yield cls(), tuple(rng.uniform(*cls.domain, shape) for _ in range(cls.arity))
        if cls.accepts in ("number", "any"):
            yield cls(), tuple(rng.integers(1, 5, (3, 9), np.int32) for _ in range(cls.arity))


class Composite(Op):
    """A tensor op defined by primitives: its type follows from `decompose`; its gradient is its own."""

    fusion = Fusion.COMPOSITE

    @abc.abstractmethod
    def decompose(self, b: Builder, *inputs: Value) -> tuple[Value, ...]:
        """Emit the primitives and return the results; raises ValueError or TypeError on bad types."""

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        """The types of what `decompose` returns."""
        scratch = Builder(self.name)
        values = [scratch.input(f"x{i}", type_) for i, type_ in enumerate(inputs)]
        return tuple(value.type for value in self.decompose(scratch, *values))

    def lower(self, k: Lowering, inputs: Sequence[Element], types: Sequence[TensorType], index: Sequence[Expr]) -> Expr:
        """Composites are decomposed before lowering."""
        raise TypeError(f"op '{self.name}' is composite: run the pass 'decompose' before lowering.")


class Derived(Composite):
    """A composite whose gradient, too, follows from `decompose`."""

    def gradient(
        self,
        b: Builder,
        cotangents: Sequence[Value | None],
        inputs: Sequence[Value],
        outputs: Sequence[Value],
    ) -> Sequence[Value | None]:
        """Differentiate the decomposition; common subexpressions merge with the forward pass later."""
        start = len(b.nodes)
        results = self.decompose(b, *inputs)
        from_nodes = b.nodes[start:]
        return reverse_accumulate(b, from_nodes, dict(zip(results, cotangents, strict=True)), inputs)


def reverse_accumulate(
    b: Builder, nodes: Sequence[Node], seeds: dict[Value, Value | None], wanted: Sequence[Value]
) -> list[Value | None]:
    """Reverse-mode differentiation through `nodes` (in execution order).

    `seeds` maps results to their cotangents; returns the cotangent of each wanted value, None where no
    gradient flows. (Griewank and Walther, Evaluating Derivatives, 2008, chapter 3.)
    """
    add = OPS["add"]  # looked up, since the ops are built on this module
    cotangent: dict[Value, Value] = {value: seed for value, seed in seeds.items() if seed is not None}
    needed = set(wanted)
    for node in nodes:
        if needed.intersection(node.inputs):
            needed.update(node.outputs)
    for node in reversed(nodes):
        if not needed.intersection(node.outputs):
            continue
        incoming = [cotangent.get(value) for value in node.outputs]
        if all(value is None for value in incoming):
            continue
        with b.scope(layer=node.layer, source=node.source):
            for value, part in zip(node.inputs, node.op.gradient(b, incoming, node.inputs, node.outputs), strict=True):
                if part is not None and value in needed:
                    known = cotangent.get(value)
                    cotangent[value] = part if known is None else b.emit(add(), known, part)
    return [cotangent.get(value) for value in wanted]
