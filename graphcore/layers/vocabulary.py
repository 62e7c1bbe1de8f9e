"""A vocabulary: tokens with numbers, learnt from data or given, and how numbers become features."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Token = str | int

__all__ = ["DROPPED", "Token", "TokenCounts", "encode", "sorted_tokens", "special_tokens"]

DROPPED = -1  # the number of a masked token where features are counted


class TokenCounts:
    """How often tokens occur, and in how many documents."""

    def __init__(self) -> None:
        self.tokens: collections.Counter[Token] = collections.Counter()
        self.documents: collections.Counter[Token] = collections.Counter()
        self.count = 0

    def add(self, documents: Iterable[Sequence[Token]]) -> None:
        """Count the tokens of some documents."""
        for document in documents:
            self.tokens.update(document)
            self.documents.update(set(document))
            self.count += 1

    def inverse_document_frequency(self, tokens: Sequence[Token]) -> Array:
        """log(1 + documents / (1 + documents with the token)), as Keras has it."""
        found = np.array([self.documents[token] for token in tokens], np.float64)
        return np.log(1 + self.count / (1 + found))


def sorted_tokens(counts: TokenCounts, without: Sequence[Token | None], most: int | None) -> list[Token]:
    """The `most` most frequent tokens but those in `without`, frequent ones first, ties from the last to the first."""
    entries = [(count, token) for token, count in counts.tokens.items() if token not in without]
    return [token for _, token in sorted(entries, reverse=True)][:most]


def special_tokens(mask: Token | None, unknown: Token | None, unknowns: int) -> list[Any]:
    """What stands before the tokens of a vocabulary."""
    return ([] if mask is None else [mask]) + [unknown] * unknowns


def encode(numbers: Array, mode: str, depth: int) -> Array:
    """Numbers of tokens as features.

    Args:
        numbers: [..., tokens]; DROPPED ones count for nothing.
        mode: 'one_hot', one vector for each number (an axis of extent 1 at the end is dropped first), or 'multi_hot'
            or 'count', one vector for each row. A single number is a row of one.
        depth: length of the vectors.

    Returns:
        int64.
    """
    numbers = np.atleast_1d(numbers)
    if mode == "one_hot":
        numbers = numbers[..., 0] if numbers.ndim > 1 and numbers.shape[-1] == 1 else numbers
        found: Array = (numbers[..., None] == np.arange(depth)).astype(np.int64)
        return found
    rows = numbers.reshape(math.prod(numbers.shape[:-1]), numbers.shape[-1])  # there may be no tokens at all
    counts = np.zeros((len(rows), depth), np.int64)
    kept = rows != DROPPED
    np.add.at(counts, (np.nonzero(kept)[0], rows[kept]), 1)
    if mode == "multi_hot":
        counts = (counts > 0).astype(np.int64)
    return counts.reshape(*numbers.shape[:-1], depth)
