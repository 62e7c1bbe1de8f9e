"""Set the learning rate of each epoch by a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from graphcore.callbacks.callback import Callback, Logs


class LearningRateScheduler(Callback):
    """Sets the optimizer's learning rate at the start of every epoch and logs it as `learning_rate`.

    Args:
        schedule: function of the epoch (from 0) and the current rate, or of the epoch alone; returns a float.
        verbose: 1 prints each rate.

    Raises:
        ValueError: in training, if the function returns anything but a float.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the epoch's learning rate."""
        optimizer = self.model.optimizer
        if _takes_two(self.schedule):
            rate = self.schedule(epoch, read_learning_rate(optimizer))
        else:
            rate = self.schedule(epoch)
        if not isinstance(rate, (float, np.floating)):
            raise ValueError(
                "The `schedule` function of LearningRateScheduler must return a float. "
                f"Received for epoch {epoch}: {rate!r} of type {type(rate).__name__}"
            )
        optimizer.learning_rate = float(rate)
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Log the rate."""
        if logs is not None:
            logs["learning_rate"] = read_learning_rate(self.model.optimizer)


def read_learning_rate(optimizer: Any) -> float:
    """The optimizer's present learning rate as a Python float."""
    return float(np.asarray(optimizer.learning_rate))


def _takes_two(schedule: Callable[..., float]) -> bool:
    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # a built-in without a signature
        return True
    return True
