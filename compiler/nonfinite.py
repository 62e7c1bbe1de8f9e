"""Finding the first op that makes NaN or infinity: the interpreter with a look at every result.

An op is to blame for a NaN that none of its inputs had, or for an infinity while all of its inputs were finite. What is
meant to be infinite is left alone: constants, and ops with an infinite attribute, such as padding with -inf. Inputs and
variables of the graph are looked at first, where a node reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from compiler.interpret import checked_by, interpret
from compiler.ir import Array, Fusion, Graph, Node, Value

__all__ = ["NonFiniteError", "Numbers", "interpret_checked"]

# What to do, for ops that are most often to blame.
_HINTS = {
    "log": "keep its operand above 0, e.g. log(maximum(x, 1e-7))",
    "log1p": "keep its operand above -1",
    "divide": "keep its divisor away from 0, e.g. x / maximum(y, 1e-7)",
    "reciprocal": "keep its operand away from 0",
    "rsqrt": "keep its operand above 0, e.g. add 1e-7",
    "sqrt": "keep its operand at 0 or above",
    "power": "keep its base above 0, or its exponent small",
    "exp": "keep its operand below 88 in float32, e.g. subtract the maximum first, as softmax does",
    "expm1": "keep its operand below 88 in float32",
}
_GENERAL_HINT = "look at the ranges above; a lower learning rate or `clipnorm` keeps weights and gradients small"


class Numbers(NamedTuple):
    """What an array holds: `least` and `most` are those of its finite numbers, NaN where there are none."""

    name: str
    type: str
    least: float
    most: float
    nans: int
    infinities: int

    def __str__(self) -> str:
        """One line."""
        found = f"from {self.least:g} to {self.most:g}" if not math.isnan(self.least) else "no finite number"
        return f"{self.name}: {self.type}, {found}, {self.nans} NaN, {self.infinities} infinite"


class NonFiniteError(FloatingPointError):
    """NaN or infinity where there was none before.

    Attributes:
        graph: name of the graph.
        op: name of the op that made it, or that is the first to read it, if it was given.
        layer, source: that op's layer and line of code; "" where it has none.
        inputs: what the op read.
        results: what it made; empty if the trouble was given.
        given: the graph's input or variable that held it; "" if the op made it.
    """

    def __init__(
        self, graph: str, node: Node, inputs: tuple[Numbers, ...], results: tuple[Numbers, ...], given: str = ""
    ) -> None:
        self.graph, self.op, self.layer, self.source = graph, node.op.name, node.layer, node.source
        self.inputs, self.results, self.given = inputs, results, given
        super().__init__(self._message())

    def _message(self) -> str:
        place = f"op '{self.op}'" + (f" of layer '{self.layer}'" if self.layer else "")
        place += f" ({self.source})" if self.source else ""
        lines = [f"  reads {numbers}" for numbers in self.inputs] + [f"  makes {numbers}" for numbers in self.results]
        if self.given:
            head = f"In {self.graph!r}, {self.given} holds NaN or infinity; the first to read it is {place}:"
            hint = "look at the data, or at the step that wrote the variable"
        else:
            head = f"In {self.graph!r}, {place} makes NaN or infinity that its inputs do not have:"
            hint = _HINTS.get(self.op, _GENERAL_HINT)
        return "\n".join([head, *lines, f"Fix: {hint}."])


def interpret_checked(
    graph: Graph, inputs: Sequence[Array], variables: Sequence[Array] = ()
) -> tuple[tuple[Array, ...], dict[str, Array]]:
    """`compiler.interpret.interpret`, where every result is looked at, those inside of loops too.

    Raises:
        NonFiniteError: at the first NaN or infinity.
        BindingError: if the arrays do not fit the graph's inputs.
    """
    names: dict[Value, str] = {}
    for kind, entries in (("input", graph.inputs), ("variable", graph.variables)):
        names.update((entry.value, f"{kind} '{entry.name}'") for entry in entries)

    def check(node: Node, given: Sequence[Array], made: Sequence[Array]) -> None:
        _check_given(graph, names, node, given)
        if _is_to_blame(node, given, made):
            results = tuple(
                _numbers(f"result {number}" if len(made) > 1 else "", array) for number, array in enumerate(made)
            )
            raise NonFiniteError(graph.name, node, _inputs_of(node, names, given), results)

    with checked_by(check):
        return interpret(graph, inputs, variables)


def _check_given(graph: Graph, names: dict[Value, str], node: Node, given: Sequence[Array]) -> None:
    for value, array in zip(node.inputs, given, strict=True):
        if value in names and _has_any(array):
            raise NonFiniteError(graph.name, node, _inputs_of(node, names, given), (), names[value])


def _is_to_blame(node: Node, given: Sequence[Array], made: Sequence[Array]) -> bool:
    if not any(map(_has_any, made)) or node.op.fusion is Fusion.SOURCE or any(map(_has_nan, given)):
        return False
    if any(map(_has_nan, made)):
        return not _has_odd_attribute(node, math.isnan)
    return not any(map(_has_any, given)) and not _has_odd_attribute(node, math.isinf)


def _has_odd_attribute(node: Node, is_odd: Callable[[float], bool]) -> bool:
    return any(isinstance(value, float) and is_odd(value) for value in node.op.fields.values())


def _has_any(array: Array) -> bool:
    return array.dtype.kind in "fc" and not bool(np.isfinite(array).all())


def _has_nan(array: Array) -> bool:
    return array.dtype.kind in "fc" and bool(np.isnan(array).any())


def _inputs_of(node: Node, names: dict[Value, str], given: Sequence[Array]) -> tuple[Numbers, ...]:
    return tuple(_numbers(_name(value, names), array) for value, array in zip(node.inputs, given, strict=True))


def _name(value: Value, names: dict[Value, str]) -> str:
    if value.node is None:
        return names.get(value, "a value from outside of the loop")
    maker = value.producer
    return f"the result of '{maker.op.name}'" + (f" ({maker.layer})" if maker.layer else "")


def _numbers(name: str, array: Array) -> Numbers:
    type_ = f"{array.dtype}[{','.join(map(str, array.shape))}]"
    is_float = array.dtype.kind in "fc"
    finite = array[np.isfinite(array)] if is_float else array.reshape(-1)
    ends = (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)
    nans = int(np.isnan(array).sum()) if is_float else 0
    infinities = int(np.isinf(array).sum()) if is_float else 0
    return Numbers(name or "result", type_, *ends, nans, infinities)
