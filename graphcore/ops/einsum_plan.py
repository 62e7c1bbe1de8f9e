"""Einstein summation as transposes and matrix products, one pair of operands after the other."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from compiler import functions as f
from compiler.ir import Builder, Value
from compiler.types import product
from runtime.dimensions import Dim


def einsum_of(b: Builder, subscripts: str, operands: Sequence[Value]) -> Value:
    """The value of `subscripts` over the operands, contracted from left to right.

    Raises:
        ValueError: if the subscripts are malformed or do not fit the operands.
    """
    terms, result = parse(subscripts, [operand.type.rank for operand in operands])
    pairs = [_diagonal(b, term, operand) for term, operand in zip(terms, operands, strict=True)]
    term, value = pairs[0]
    rest = pairs[1:]
    for i, (other, operand) in enumerate(rest):
        later = set(result).union(*(letters for letters, _ in rest[i + 1 :]))
        term, value = _pair(b, (term, value), (other, operand), later)
    summed = [i for i, letter in enumerate(term) if letter not in result]
    value = f.reduce_sum(b, value, summed) if summed else value
    term = "".join(letter for letter in term if letter in result)
    return f.transpose(b, value, [term.index(letter) for letter in result])


def parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, with an ellipsis replaced by letters.

    Raises:
        ValueError: if the subscripts are malformed or do not fit the ranks.
    """
    text = subscripts.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum: '{subscripts}' names {len(terms)} operand(s). Received: {len(ranks)}")
    free = [letter for letter in string.ascii_letters if letter not in text]
    spans = [
        rank - len(term.replace("...", "")) if "..." in term else 0 for term, rank in zip(terms, ranks, strict=True)
    ]
    widest = "".join(free[: max(spans, default=0)]) if min(spans, default=0) >= 0 else ""
    full = [
        term.replace("...", widest[len(widest) - span :] if span else "")
        for term, span in zip(terms, spans, strict=True)
    ]
    for term, letters, rank in zip(terms, full, ranks, strict=True):
        if len(letters) != rank or not all(letter in string.ascii_letters for letter in letters):
            raise ValueError(f"einsum: '{term}' of '{subscripts}' does not fit an operand with {rank} axes.")
    if not arrow:
        joined = "".join(full)
        output = widest + "".join(sorted(x for x in set(joined) if joined.count(x) == 1 and x not in widest))
    output = output.replace("...", widest)
    if len(set(output)) != len(output) or not set(output) <= set("".join(full)):
        raise ValueError(
            f"einsum: the result '{output}' of '{subscripts}' must hold letters of the operands, once each."
        )
    return full, output


def _diagonal(b: Builder, term: str, value: Value) -> tuple[str, Value]:
    """Letters repeated in one operand select its diagonal."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            shape = value.type.shape
            same = f.equal(b, f.iota(b, shape, first, "int32"), f.iota(b, shape, second, "int32"))
            value = f.reduce_sum(b, f.where(b, same, value, 0), second)
            term = term[:second] + term[second + 1 :]
    return term, value


def _pair(b: Builder, left: tuple[str, Value], right: tuple[str, Value], later: set[str]) -> tuple[str, Value]:
    """Two operands combined: letters of both that nobody needs later are summed by a matrix product."""
    (term, value), (other, operand) = left, right
    term, value = _sum_lonely(b, term, value, later | set(other))
    other, operand = _sum_lonely(b, other, operand, later | set(term))
    shared = [letter for letter in term if letter in other]
    batch = [letter for letter in shared if letter in later]
    inner = [letter for letter in shared if letter not in later]
    rows = [letter for letter in term if letter not in shared]
    columns = [letter for letter in other if letter not in shared]
    extents = dict(zip(term, value.type.shape, strict=True))
    for letter, extent in zip(other, operand.type.shape, strict=True):
        if extents.get(letter, 1) == 1:
            extents[letter] = extent
    value = _arranged(b, term, value, extents, (batch, rows, inner))
    operand = _arranged(b, other, operand, extents, (batch, inner, columns))
    product_ = f.matmul(b, value, operand)
    order = [*batch, *rows, *columns]
    return "".join(order), f.reshape(b, product_, [extents[letter] for letter in order])


def _sum_lonely(b: Builder, term: str, value: Value, needed: set[str]) -> tuple[str, Value]:
    lonely = [i for i, letter in enumerate(term) if letter not in needed]
    if not lonely:
        return term, value
    return "".join(letter for letter in term if letter in needed), f.reduce_sum(b, value, lonely)


def _arranged(
    b: Builder, term: str, value: Value, extents: Mapping[str, Dim], groups: tuple[list[str], list[str], list[str]]
) -> Value:
    """The operand as [*batch, one axis per group]."""
    order = [letter for group in groups for letter in group]
    value = f.transpose(b, value, [term.index(letter) for letter in order])
    shape = tuple(extents[letter] for letter in order)
    value = f.broadcast_to(b, value, shape)
    batch, first, second = groups
    sizes = [product(tuple(extents[letter] for letter in group)) for group in (first, second)]
    return f.reshape(b, value, [*(extents[letter] for letter in batch), *sizes])
