"""Einstein summation of one or two tensors, as transposes, sums and one matrix product."""

from __future__ import annotations

import string

from compiler.functions.contractions import matmul
from compiler.functions.core import broadcast_in, cast, common_dtype
from compiler.functions.elementwise import multiply
from compiler.functions.reductions import reduce_sum
from compiler.functions.shapes import reshape, transpose
from compiler.ir import Builder, Value
from compiler.types import product
from runtime.dimensions import Dim


def einsum(b: Builder, equation: str, *operands: Value) -> Value:
    """NumPy's einsum for one or two operands; "..." stands for the axes not named, aligned at the right.

    Raises:
        ValueError: if the equation does not fit the operands, or a label repeats within one of them.
    """
    labels, result = _parse(equation, operands)
    extents = _extents(equation, labels, operands)
    if len(operands) == 1:
        return _arrange(b, operands[0], labels[0], result)
    dtype = common_dtype(operands)
    x, y = (cast(b, operand, dtype) for operand in operands)
    x, left = _sum_own(b, x, labels[0], labels[1] + result)
    y, right = _sum_own(b, y, labels[1], labels[0] + result)
    shared = [label for label in left if label in right]
    batch = [label for label in shared if label in result]
    inner = [label for label in shared if label not in result]
    rows = [label for label in left if label not in shared]
    columns = [label for label in right if label not in shared]

    def sizes(names: list[str]) -> tuple[Dim, ...]:
        return tuple(extents[name] for name in names)

    if not inner:
        return _outer(b, x, left, y, right, result, extents)
    x = _expanded(b, x, left, extents)
    y = _expanded(b, y, right, extents)
    x = transpose(b, x, [left.index(label) for label in batch + rows + inner])
    y = transpose(b, y, [right.index(label) for label in batch + inner + columns])
    x = reshape(b, x, (*sizes(batch), product(sizes(rows)), product(sizes(inner))))
    y = reshape(b, y, (*sizes(batch), product(sizes(inner)), product(sizes(columns))))
    order = batch + rows + columns
    return _arrange(b, reshape(b, matmul(b, x, y), sizes(order)), "".join(order), result)


def _parse(equation: str, operands: tuple[Value, ...]) -> tuple[list[str], str]:
    """One label an axis for each operand and the result; "..." becomes digits, counted from the right."""
    text = equation.replace(" ", "")
    sources, arrow, target = text.partition("->")
    terms = sources.split(",")
    if len(terms) != len(operands) or len(operands) not in (1, 2):
        raise ValueError(
            f"einsum: expected one or two operands, as many as terms in the equation. "
            f"Received: {equation!r} with {len(operands)} operands"
        )
    labels = []
    for term, operand in zip(terms, operands, strict=True):
        hidden = operand.type.rank - len(term.replace("...", ""))
        if hidden < 0 or (hidden > 0 and "..." not in term):
            raise ValueError(
                f"einsum: term {term!r} of {equation!r} must name each axis of {operand.type} once, or have '...'"
            )
        labels.append(term.replace("...", string.digits[10 - hidden :]))
    hidden_labels = max(("".join(c for c in term if c.isdigit()) for term in labels), key=len)
    if arrow:
        result = target.replace("...", hidden_labels)
    else:
        joined = "".join(labels)
        result = hidden_labels + "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c.isalpha()))
    _check(equation, labels, result)
    return labels, result


def _check(equation: str, labels: list[str], result: str) -> None:
    for term in [*labels, result]:
        if len(set(term)) != len(term) or (term and not term.isalnum()):
            raise ValueError(f"einsum: labels must be letters, each once in a term. Received: {equation!r}")
    if unknown := set(result) - set("".join(labels)):
        raise ValueError(f"einsum: {sorted(unknown)} of the result are in no operand. Received: {equation!r}")


def _extents(equation: str, labels: list[str], operands: tuple[Value, ...]) -> dict[str, Dim]:
    extents: dict[str, Dim] = {}
    for term, operand in zip(labels, operands, strict=True):
        for label, extent in zip(term, operand.type.shape, strict=True):
            known = extents.get(label, 1)
            if known != 1 and extent not in (1, known):
                raise ValueError(
                    f"einsum: extents named {label!r} in {equation!r} must be equal or 1. "
                    f"Received: {' and '.join(str(value.type) for value in operands)}"
                )
            extents[label] = known if extent == 1 else extent
    return extents


def _sum_own(b: Builder, x: Value, labels: str, others: str) -> tuple[Value, list[str]]:
    """Sum over the axes that nothing else names."""
    own = [axis for axis, label in enumerate(labels) if label not in others]
    kept = [label for label in labels if label in others]
    return (reduce_sum(b, x, own) if own else x), kept


def _expanded(b: Builder, x: Value, labels: list[str], extents: dict[str, Dim]) -> Value:
    """Axes of extent 1 repeated to what the other operand has."""
    return broadcast_in(b, x, [extents[label] for label in labels], range(len(labels)))


def _arrange(b: Builder, x: Value, labels: str, result: str) -> Value:
    x, kept = _sum_own(b, x, labels, result)
    return transpose(b, x, [kept.index(label) for label in result])


def _outer(
    b: Builder, x: Value, left: list[str], y: Value, right: list[str], result: str, extents: dict[str, Dim]
) -> Value:
    """No label is summed over: a product of broadcasts."""
    shape = [extents[label] for label in result]
    factors = []
    for value, labels in ((x, left), (y, right)):
        order = [label for label in result if label in labels]
        aligned = transpose(b, value, [labels.index(label) for label in order])
        factors.append(broadcast_in(b, aligned, shape, [result.index(label) for label in order]))
    return multiply(b, *factors)
