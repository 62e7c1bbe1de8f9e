"""Sequences of different lengths in batches of like lengths, so that little is padding.

A compiled program serves every length, so batches need not have one; with masks, what is padding all the same is not
computed by recurrent layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore.utils.arrays import pad_sequences
from graphcore.utils.batches import Array, Batches, grouped

__all__ = ["bucket_by_sequence_length"]


def bucket_by_sequence_length(
    sequences: Sequence[Any],
    targets: Any = None,
    sample_weight: Any = None,
    batch_size: int = 32,
    bucket_boundaries: Sequence[int] | None = None,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "post",
    truncating: str = "pre",
    value: Any = 0.0,
    drop_remainder: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
) -> Batches:
    """Batches of sequences of like lengths, padded to the longest of each batch.

    Args:
        sequences: lists of numbers, or arrays of one shape but for their length.
        targets: one for each sequence, an array whose first axis counts them.
        sample_weight: the same.
        batch_size: sequences in a batch.
        bucket_boundaries: lengths at which a new bucket begins, ascending: a batch has sequences of one bucket. None:
            the sequences are sorted by length, and the batch that is short, if one is, stands where it saves most
            padding: no other batches of which one at most is short have less.
        maxlen: longer sequences are cut to this length.
        dtype, padding, truncating, value: as for `pad_sequences`.
        drop_remainder: leave out the batches that are not full.
        shuffle: whether sequences change places within their bucket (without boundaries: with those of the same
            length), and batches theirs, at every pass.
        seed: of these orders.

    Returns:
        An iterable of x, (x, y) or (x, y, weight); x is [batch, longest, ...].

    Raises:
        ValueError: no sequences, boundaries that do not ascend, or another number of targets or weights.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    boundaries = None if bucket_boundaries is None else np.asarray(bucket_boundaries)
    extras = [None if extra is None else np.asarray(extra) for extra in (targets, sample_weight)]
    if not len(lengths) or batch_size < 1 or (boundaries is not None and (np.diff(boundaries) <= 0).any()):
        raise ValueError(
            "bucket_by_sequence_length needs sequences, a positive `batch_size` and ascending `bucket_boundaries`. "
            f"Received: {len(lengths)} sequences, batch_size={batch_size}, bucket_boundaries={bucket_boundaries}"
        )
    if any(extra is not None and len(extra) != len(lengths) for extra in extras):
        raise ValueError(f"There must be one target and one weight for each of {len(lengths)} sequences.")
    if maxlen is not None:
        lengths = np.minimum(lengths, maxlen)

    def make(numbers: Array) -> Any:
        longest = int(lengths[numbers].max())
        x = pad_sequences([sequences[i] for i in numbers], longest, dtype, padding, truncating, value)
        given = [extra[numbers] for extra in extras if extra is not None]
        if sample_weight is not None and targets is None:
            return x, None, given[0]
        return (x, *given) if given else x

    def regroup(generator: np.random.Generator | None) -> list[Array]:
        return _groups(lengths, boundaries, batch_size, drop_remainder, generator)

    return Batches(regroup(None), make, regroup if shuffle else None, seed)


def _groups(
    lengths: Array, boundaries: Array | None, size: int, drop_remainder: bool, generator: np.random.Generator | None
) -> list[Array]:
    """Numbers of the samples of each batch, in an order by chance where there is a generator."""
    order = np.arange(len(lengths)) if generator is None else generator.permutation(len(lengths))
    if boundaries is None:
        groups = _least_padded(order[np.argsort(lengths[order], kind="stable")], lengths, size)
    else:
        bucket_of = np.searchsorted(boundaries, lengths[order], side="right")
        buckets = [order[bucket_of == bucket] for bucket in range(len(boundaries) + 1)]
        groups = [group for bucket in buckets for group in grouped(bucket, size)]
    if drop_remainder:
        groups = [group for group in groups if len(group) == size]
    if generator is None:
        return groups
    return [groups[i] for i in generator.permutation(len(groups))]


def _least_padded(order: Array, lengths: Array, size: int) -> list[Array]:
    """Batches of sequences sorted by length, the short one where padding is least.

    A batch costs its longest sequence times its sequences. With the short one in place p, the longest of full batch i
    are at (i + 1) * size - 1 before it, and `rest` further after it.
    """
    whole, rest = divmod(len(order), size)
    if not rest:
        return grouped(order, size)
    ranked = lengths[order]
    before = ranked[size - 1 :: size][:whole] * size
    after = ranked[size + rest - 1 :: size][:whole] * size
    short = ranked[rest - 1 :: size] * rest
    costs = short + np.append(0, np.cumsum(before)) + np.append(np.cumsum(after[::-1])[::-1], 0)
    cut = int(costs.argmin()) * size
    return [*grouped(order[:cut], size), order[cut : cut + rest], *grouped(order[cut + rest :], size)]
