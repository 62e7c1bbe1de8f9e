"""The callback that `fit` returns: values of every epoch."""

from __future__ import annotations

from typing import Any

from graphcore.callbacks.callback import Callback, Logs


class History(Callback):
    """Records what each epoch logged.

    Attributes:
        history: for each name the list of its values, one an epoch.
        epoch: indices of the epochs run.
        params: `{"verbose", "epochs", "steps"}`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start a new list of epochs; values are appended to those of earlier calls of `fit`."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Append the epoch's values."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self
