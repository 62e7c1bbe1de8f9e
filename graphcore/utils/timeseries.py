"""Windows of series."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphcore.utils.batches import Array, Batches, shuffled_batches

__all__ = ["timeseries_dataset_from_array"]


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Batches:
    """Windows of a series, each with a target, in batches.

    Args:
        data: [steps, ...].
        targets: [steps, ...]; `targets[i]` belongs to the window that begins at step i. None: windows alone.
        sequence_length: entries of a window.
        sequence_stride: steps from the beginning of one window to that of the next.
        sampling_rate: steps from one entry of a window to the next.
        batch_size: windows in a batch; None: single windows.
        shuffle: whether windows come in another order at every pass.
        seed: of these orders.
        start_index, end_index: only steps from here to there are used, the latter not included.
        format: kept for Keras's sake.

    Returns:
        An iterable of batches [windows, sequence_length, ...], or of pairs with targets.

    Raises:
        ValueError: numbers that do not fit each other or the length of the data.
    """
    series = np.asarray(data)
    _check(len(series), sequence_stride, sampling_rate, start_index, end_index, format)
    start, end = start_index or 0, end_index if end_index is not None else len(series)
    series = series[start:end]
    count = end - start - (sequence_length - 1) * sampling_rate
    goals = None if targets is None else np.asarray(targets)
    if goals is not None:
        count = min(count, len(goals))
        goals = goals[start:end]
    begins = np.arange(0, max(count, 0), sequence_stride)
    if goals is not None and begins.size and begins[-1] >= len(goals):
        raise ValueError(
            f"`targets` must reach to the last window, at step {start + begins[-1]}. Received: {len(goals) + start} "
            f"targets with start_index={start_index}"
        )
    steps = np.arange(sequence_length) * sampling_rate

    def make(numbers: Array) -> Any:
        windows = series[begins[numbers][..., None] + steps]
        return windows if goals is None else (windows, goals[begins[numbers]])

    return shuffled_batches(len(begins), batch_size, make, shuffle, seed)


def _check(length: int, stride: int, rate: int, start: int | None, end: int | None, format: str) -> None:
    if start is not None and not 0 <= start < length:
        raise ValueError(
            f"`start_index` must lie in 0..{length - 1}, for data of length {length}. Received: start_index={start}"
        )
    if end is not None and not (start or 0) < end <= length:
        raise ValueError(
            f"`end_index` must be higher than `start_index` and at most the length of the data, {length}. "
            f"Received: start_index={start} and end_index={end}"
        )
    for name, value in (("sampling_rate", rate), ("sequence_stride", stride)):
        if not 0 < value < length:
            raise ValueError(
                f"`{name}` must be higher than 0 and lower than the length of the data, {length}. "
                f"Received: {name}={value}"
            )
    if format not in ("tf", "grain"):
        raise ValueError(f'`format` should be either "tf" or "grain". Received: format={format}')
