"""Save the model, or its weights, while it trains."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from graphcore.callbacks.callback import Logs
from graphcore.callbacks.monitor import MonitorCallback

WEIGHTS_SUFFIX = ".weights.h5"
MODEL_SUFFIX = ".keras"  # Keras also writes whole models as `.h5`, a legacy format that is not written here


class ModelCheckpoint(MonitorCallback):
    """Saves after every epoch, or after every `save_freq` batches.

    Args:
        filepath: where to save; may hold `{epoch}` (counted from 1), `{batch}` and logged names, such as
            `"{epoch:02d}-{val_loss:.2f}.weights.h5"`. Folders are made as needed.
        monitor: name in the logs.
        verbose: 1 prints what is done.
        save_best_only: save only when the monitored value improves.
        save_weights_only: save the weights alone; the path must end in `.weights.h5`. Whole models: `.keras`.
        mode: "min", "max" or "auto".
        save_freq: "epoch" or a number of batches, counted across epochs.
        initial_value_threshold: the value to beat at first.

    Raises:
        ValueError: for a path with another ending or an unknown `save_freq`.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._epoch = 0
        self._batches_since_save = 0
        self._last_batch = -1
        self._check_arguments()

    def _check_arguments(self) -> None:
        if self.save_freq != "epoch" and (type(self.save_freq) is not int or self.save_freq < 1):
            raise ValueError(
                "`save_freq` must be 'epoch' or a positive number of batches. "
                f"Received: save_freq={self.save_freq!r}"
            )
        if self.save_weights_only and not self.filepath.endswith(WEIGHTS_SUFFIX):
            raise ValueError(
                f"With save_weights_only=True the filepath must end in '{WEIGHTS_SUFFIX}'. "
                f"Received: filepath={self.filepath!r}"
            )
        if not self.save_weights_only and not self.filepath.endswith(MODEL_SUFFIX):
            raise ValueError(
                f"The filepath of a whole model must end in '{MODEL_SUFFIX}'; to save weights alone, pass "
                f"save_weights_only=True and a path ending in '{WEIGHTS_SUFFIX}'. "
                f"Received: filepath={self.filepath!r}"
            )

    def set_model(self, model: Any) -> None:
        """Receive the model, and refuse before training what could not be saved after it."""
        needed = "save_weights" if self.save_weights_only else "save"
        if not callable(getattr(model, needed, None)):
            raise NotImplementedError(
                f"ModelCheckpoint needs `model.{needed}`, which {type(model).__name__} does not have. "
                "To save the weights alone, pass save_weights_only=True and a filepath ending in "
                f"'{WEIGHTS_SUFFIX}'."
            )
        super().set_model(model)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember the epoch for the path."""
        self._epoch = epoch
        self._last_batch = -1

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save if `save_freq` batches have passed."""
        if self._counts_batch(batch) >= int(self.save_freq):
            self._batches_since_save = 0
            self._save(self._epoch, batch, logs)

    def wants_batch_end(self, batch: int) -> bool:
        """Only if saving goes by batches."""
        return self.save_freq != "epoch"

    def needs_every_batch(self) -> bool:
        """Only if saving goes by batches, or a subclass has hooks of its own."""
        return self.save_freq != "epoch" or type(self) is not ModelCheckpoint

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save the epoch."""
        if self.save_freq == "epoch":
            self._save(epoch, None, logs)

    def _counts_batch(self, batch: int) -> int:
        # With steps_per_execution=k the hook is called for every k-th batch only.
        self._batches_since_save += batch - self._last_batch
        self._last_batch = batch
        return self._batches_since_save

    def _save(self, epoch: int, batch: int | None, logs: Logs | None) -> None:
        path = self._path(epoch, batch, logs or {})
        if not self._should_save(epoch, logs or {}, path):
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if Path(path).is_dir():
            raise OSError(f"ModelCheckpoint cannot save to '{path}', a folder. Pass the path of a file.")
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1}: finished saving model to {path}")

    def _should_save(self, epoch: int, logs: Logs, path: str) -> bool:
        if not self.save_best_only:
            if self.verbose > 0:
                print(f"\nEpoch {epoch + 1}: saving model to {path}")
            return True
        current = logs.get(self.monitor)
        if current is None or np.ndim(current) > 0:
            reason = "is not logged" if current is None else f"is no single number: {current}"
            warnings.warn(f"ModelCheckpoint saves every time: `{self.monitor}` {reason}.", stacklevel=2)
            return True
        self.resolve_direction()
        best = "None" if self.best is None else f"{self.best:.5f}"
        improved = self.is_improvement(current, self.best)
        if self.verbose > 0:
            change = f"improved from {best} to {current:.5f}, saving model to {path}"
            change = change if improved else f"did not improve from {best}"
            print(f"\nEpoch {epoch + 1}: {self.monitor} {change}")
        if improved:
            self.best = current
        return improved

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        names = {**logs, "epoch": epoch + 1}
        if batch is not None:
            names.setdefault("batch", batch + 1)
        try:
            return self.filepath.format(**names)
        except KeyError as error:
            raise KeyError(
                f"The filepath {self.filepath!r} of ModelCheckpoint names {error}, which is not logged. "
                f"Available: {', '.join(sorted(names))}"
            ) from None
