"""Beam search over the labels that a CTC model's output stands for, on arrays.

A prefix of labels is a number; it ends in a blank with one probability and in its last label with another. At each
step a prefix stays, by a blank or by repeating its last label, or grows by a label; what grows into a prefix that the
beam has already is added to it (Hannun et al., First-Pass Large Vocabulary Continuous Speech Recognition, 2014).
A step costs `beam_width` times the classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.ir import Array

__all__ = ["beam_search"]

EMPTY = 0  # the number of the prefix without labels


def beam_search(
    inputs: Any, sequence_lengths: Any, beam_width: int, top_paths: int, blank: int
) -> tuple[Array, Array]:
    """The best label sequences of each sample, (top_paths, batch, time), and their logarithms, (batch, top_paths).

    Where there are fewer sequences than asked for, the others are -1 with a score of -inf. The first step always
    counts, as in Keras.

    Raises:
        ValueError: for a width or a number of paths below 1, or a blank that is no class.
    """
    logits = np.asarray(inputs)
    dtype = logits.dtype if logits.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    wide = logits.astype(np.float64)
    batch, time, classes = wide.shape
    if beam_width < 1 or top_paths < 1 or not 0 <= blank < classes:
        raise ValueError(
            f"ops.ctc_decode: needs `beam_width` and `top_paths` of 1 or more and a `mask_index` below {classes}. "
            f"Received: beam_width={beam_width}, top_paths={top_paths}, mask_index={blank}"
        )
    shifted = wide - wide.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    labels = np.full((top_paths, batch, time), -1, np.int32)
    scores = np.full((batch, top_paths), -np.inf, dtype)
    for sample, length in enumerate(np.asarray(sequence_lengths).reshape(batch)):
        beam = _Beam(blank)
        for frame in log_p[sample, : max(int(length), 1)]:
            beam.advance(frame, beam_width)
        for rank, (path, score) in enumerate(beam.best(top_paths)):
            labels[rank, sample, : len(path)] = path
            scores[sample, rank] = score
    return labels, scores


class _Beam:
    """The prefixes that are followed: their numbers, and logarithms of ending in a blank and in the last label."""

    def __init__(self, blank: int) -> None:
        self.blank = blank
        self.parents, self.lasts = [EMPTY], [-1]  # of every prefix there was, by number
        self.children: dict[tuple[int, int], int] = {}
        self.prefixes = np.array([EMPTY])
        self.in_blank, self.in_label = np.zeros(1), np.full(1, -np.inf)

    def advance(self, frame: Array, width: int) -> None:
        """One step with the logarithms `frame` of the classes' probabilities."""
        last = np.array([self.lasts[number] for number in self.prefixes])
        total = np.logaddexp(self.in_blank, self.in_label)
        in_blank = total + frame[self.blank]
        repeated = np.where(last >= 0, self.in_label + frame[last], -np.inf)
        grown = total[:, None] + frame[None, :]
        rows = np.flatnonzero(last >= 0)
        grown[rows, last[rows]] = self.in_blank[rows] + frame[last[rows]]  # the same label again needs a blank between
        grown[:, self.blank] = -np.inf
        place = {int(number): row for row, number in enumerate(self.prefixes)}
        for row in rows:
            parent = place.get(self.parents[self.prefixes[row]])
            if parent is not None:
                repeated[row] = np.logaddexp(repeated[row], grown[parent, last[row]])
                grown[parent, last[row]] = -np.inf
        scores = np.concatenate([np.logaddexp(in_blank, repeated), grown.reshape(-1)])
        kept = np.argsort(-scores, kind="stable")[:width]
        kept = kept[scores[kept] > -np.inf]
        self._keep(kept, in_blank, repeated, grown)

    def _keep(self, kept: Array, in_blank: Array, repeated: Array, grown: Array) -> None:
        count, classes = grown.shape
        stays = kept < count
        rows, labels = np.divmod(kept - count, classes)
        numbers = self.prefixes.copy()
        self.prefixes = np.array([
            numbers[at] if stay else self._child(int(numbers[row]), int(label))
            for at, stay, row, label in zip(kept, stays, rows, labels, strict=True)
        ])
        inside = np.where(stays, kept, 0)
        self.in_blank = np.where(stays, in_blank[inside], -np.inf)
        self.in_label = np.where(stays, repeated[inside], grown[np.where(stays, 0, rows), np.where(stays, 0, labels)])

    def _child(self, parent: int, label: int) -> int:
        number = self.children.setdefault((parent, label), len(self.parents))
        if number == len(self.parents):
            self.parents.append(parent)
            self.lasts.append(label)
        return number

    def best(self, count: int) -> list[tuple[list[int], float]]:
        """The most probable prefixes with the logarithms of their probabilities."""
        total = np.logaddexp(self.in_blank, self.in_label)
        return [(self._path(self.prefixes[row]), total[row]) for row in np.argsort(-total, kind="stable")[:count]]

    def _path(self, number: int) -> list[int]:
        path = []
        while number != EMPTY:
            path.append(self.lasts[number])
            number = self.parents[number]
        return path[::-1]
