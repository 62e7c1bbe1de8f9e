"""Write what each epoch logged to a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from graphcore.callbacks.callback import Callback, Logs


class CSVLogger(Callback):
    """Appends one row an epoch: `epoch`, then the logged names in alphabetical order.

    Lines end in carriage return and line feed, as CSV files do (RFC 4180) and Keras's.

    If the first epoch has no validation, empty `val_...` columns (`NA`) are kept for later ones.

    Args:
        filename: path of the file; its folder must exist.
        separator: between columns.
        append: keep an existing file's rows, and write a header only into an empty file.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = Path(filename)
        self.separator = separator
        self.append = append
        self.keys: list[str] | None = None
        self._file: IO[str] | None = None
        self._writer: Any = None
        self._writes_header = True

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file."""
        self.on_train_end()
        has_rows = self.append and self.filename.exists() and self.filename.stat().st_size > 0
        self._writes_header = not has_rows
        self._file = self.filename.open("a" if self.append else "w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, delimiter=self.separator)
        self.keys = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the epoch's row."""
        logs = logs or {}
        if self._file is None:
            raise RuntimeError("CSVLogger.on_epoch_end came before on_train_begin, which opens the file.")
        if self.keys is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
            if self._writes_header:
                self._writer.writerow(["epoch", *self.keys])
        self._writer.writerow([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])
        self._file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._writer = None


def _cell(value: Any) -> Any:
    """Vector values become one quoted cell such as "[0.1, 0.2]"."""
    if isinstance(value, Iterable) and not isinstance(value, str) and np.ndim(value) > 0:  # type: ignore[arg-type]
        return f'"[{", ".join(map(str, value))}]"'
    return value
