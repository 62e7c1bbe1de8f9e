"""What callbacks that watch one logged value share: which way is better, and by how much."""

from __future__ import annotations

import warnings
from typing import Any

from graphcore.callbacks.callback import Callback, Logs

MODES = ("auto", "min", "max")


class MonitorCallback(Callback):
    """Compares a logged value with the best one so far.

    Args:
        monitor: name in the logs.
        mode: "min", "max", or "auto", which asks the metric for its direction.
        baseline: the value to beat at first; None accepts the first one.
        min_delta: changes of at most this size are no improvement.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        baseline: float | None = None,
        min_delta: float = 0,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            warnings.warn(
                f"{type(self).__name__} mode {mode!r} is unknown, using 'auto'. Expected one of {MODES}.",
                stacklevel=3,
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)
        self._larger_is_better: bool | None = None

    def is_improvement(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`."""
        if reference is None:
            return True
        if self._larger_is_better is None:
            self._larger_is_better = self._find_direction()
        if self._larger_is_better:
            return value - self.min_delta > reference
        return value + self.min_delta < reference

    def resolve_direction(self) -> None:
        """Decide which way is better, now that the model's metrics exist.

        Raises:
            ValueError: with mode "auto" if the monitored name is neither a loss nor a known metric.
        """
        if self._larger_is_better is None:
            self._larger_is_better = self._find_direction()

    def monitored_value(self, logs: Logs | None) -> Any:
        """The monitored value; None, with a warning, if it was not logged."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            available = ", ".join(logs or {}) or "none"
            warnings.warn(
                f"{type(self).__name__} monitors `{self.monitor}`, which is not logged. "
                f"Logged are: {available}.",
                stacklevel=3,
            )
        return value

    def _find_direction(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return False
        for metric in flat_metrics(self.model):
            direction = getattr(metric, "_direction", None)
            if metric.name == name and direction is not None:
                return bool(direction == "up")
        raise ValueError(
            f"{type(self).__name__} isn't able to automatically determine whether `{self.monitor}` should be "
            "as small or as large as possible. Pass mode='min' or mode='max'."
        )


def flat_metrics(model: Any) -> list[Any]:
    """The model's metrics, with those given to `compile()` one by one."""
    found: list[Any] = []
    for metric in getattr(model, "metrics", ()):
        found.extend(getattr(metric, "metrics", [metric]))
    return found
