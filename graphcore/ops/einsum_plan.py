"""Einstein summation of any number of operands: one pair after the other, from left to right."""

from __future__ import annotations

import string
from collections.abc import Sequence

from compiler import functions as f
from compiler.ir import Builder, Value


def einsum_of(b: Builder, subscripts: str, operands: Sequence[Value]) -> Value:
    """The value of `subscripts` over the operands, contracted from left to right.

    Raises:
        ValueError: if the subscripts are malformed or do not fit the operands.
    """
    terms, result = parse(subscripts, [operand.type.rank for operand in operands])
    pairs = [_diagonal(b, term, operand) for term, operand in zip(terms, operands, strict=True)]
    term, value = pairs[0]
    for i, (other, operand) in enumerate(pairs[1:], start=2):
        later = set(result).union(*(letters for letters, _ in pairs[i:]))
        kept = "".join(letter for letter in dict.fromkeys(term + other) if letter in later)
        value = f.einsum(b, f"{term},{other}->{kept}", value, operand)
        term = kept
    return f.einsum(b, f"{term}->{result}", value)


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
