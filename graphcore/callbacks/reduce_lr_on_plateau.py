"""Lower the learning rate when a logged value no longer improves."""

from __future__ import annotations

import warnings

import numpy as np

from graphcore.callbacks.callback import Logs
from graphcore.callbacks.learning_rate_scheduler import read_learning_rate
from graphcore.callbacks.monitor import MonitorCallback


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` after `patience` epochs without improvement.

    Logs `learning_rate`. Needs an optimizer with a plain number as its learning rate, not a schedule.

    Args:
        monitor: name in the logs.
        factor: below 1.
        patience: epochs without improvement before the rate is lowered.
        verbose: 1 prints what is done.
        mode: "min", "max" or "auto".
        min_delta: changes of at most this size are no improvement.
        cooldown: epochs after a change in which nothing is counted.
        min_lr: the rate is never set below this.

    Raises:
        ValueError: if `factor` is 1 or more.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau needs a factor below 1. Received: factor={factor}")
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier training."""
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Log the rate, compare, count, and lower the rate when patience is over."""
        self.resolve_direction()
        logs = {} if logs is None else logs
        logs["learning_rate"] = read_learning_rate(self.model.optimizer)
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                f"ReduceLROnPlateau monitors `{self.monitor}`, which is not logged. "
                f"Logged are: {', '.join(logs)}.",
                stacklevel=2,
            )
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def in_cooldown(self) -> bool:
        """Whether a change is so recent that epochs are not counted."""
        return self.cooldown_counter > 0

    def _reduce(self, epoch: int) -> None:
        old = read_learning_rate(self.model.optimizer)
        # The optimizer stores float32: compare with the same rounding.
        if old <= np.float32(self.min_lr):
            return
        new = max(old * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = new
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {new}.")
