"""Windows that Keras cuts from series: `keras.utils.timeseries_dataset_from_array`.

Made with Keras 3.15.1 (TensorFlow 2.21 for its data sets). Run `python make_series_references.py` in an environment as
keras_setup.py describes, with `pip install tensorflow` beside it. The structure of series.json is in README.md.
"""

from __future__ import annotations

from typing import Any

import keras
import keras_setup
import numpy as np
from reference_arrays import CaseWriter


def add(writer: CaseWriter, name: str, data: np.ndarray, targets: np.ndarray | None, **kwargs: Any) -> None:
    batches = list(keras.utils.timeseries_dataset_from_array(data, targets, **kwargs))
    pairs = [batch if isinstance(batch, tuple) else (batch, None) for batch in batches]
    entry: dict[str, Any] = {"data": writer.store(data), "targets": None, "kwargs": kwargs}
    entry["windows"] = [writer.store(x) for x, _ in pairs]
    if targets is not None:
        entry |= {"targets": writer.store(targets), "goals": [writer.store(y) for _, y in pairs]}
    writer.add(name, **entry)


def main() -> None:
    writer = CaseWriter("series")
    data, targets = np.arange(40, dtype=np.int32), 100 + np.arange(40, dtype=np.int32)
    table = np.arange(60, dtype=np.int32).reshape(30, 2)
    add(writer, "plain", data, None, sequence_length=7, batch_size=10)
    add(writer, "with_targets", data[:-5], targets[5:], sequence_length=5, batch_size=4)
    add(writer, "strided", data, targets, sequence_length=4, sequence_stride=3, sampling_rate=2, batch_size=5)
    add(writer, "part", table, None, sequence_length=3, start_index=4, end_index=21, batch_size=128)
    add(writer, "part_with_targets", data, targets, sequence_length=3, start_index=6, end_index=30, batch_size=7)
    add(writer, "single", table, table[:, 0], sequence_length=6, batch_size=None, sequence_stride=9)
    add(writer, "few_targets", data, targets[:9], sequence_length=3, batch_size=4)
    writer.write(keras_setup.versions())


if __name__ == "__main__":
    main()
