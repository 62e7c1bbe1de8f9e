"""The progress bar that `fit`, `evaluate` and `predict` print, as Keras prints it.

In a terminal or a notebook the line is redrawn in place. Anywhere else (a pipe, a file) one line is
written when an epoch ends, without control characters, so that logs stay readable.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Sequence

import numpy as np

clock = time.perf_counter  # in seconds; replaced in tests


class Progbar:
    """Shows how many steps are done, the time they took and the values of metrics.

    Args:
        target: number of steps expected; None if it is not known.
        width: characters of the bar.
        verbose: 0 prints nothing, 1 a bar, 2 one line when the target is reached.
        interval: seconds that must pass between two redraws.
        stateful_metrics: names whose values are shown as they are; all others are averaged over the steps.
        stateless_metrics: the opposite list; give at most one of the two.
        unit_name: what a step is called.

    Raises:
        ValueError: if both lists are given.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError(
                "Progbar takes `stateful_metrics` or `stateless_metrics`, not both: one lists the values "
                "shown as they are, the other those that are averaged."
            )
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.unit_name = unit_name
        self.stateful_metrics = None if stateful_metrics is None else set(stateful_metrics)
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        self.redraws = can_redraw()
        self._values: dict[str, tuple[float, float]] = {}  # sum of the values, number of steps in it
        self._seen = 0
        self._start = clock()
        self._first_update: tuple[int, float] | None = None  # steps done then, and its time
        self._last_update = -math.inf
        self._previous_width = 0

    def update(
        self, current: int, values: Sequence[tuple[str, object]] | None = None, finalize: bool | None = None
    ) -> None:
        """Record step `current` (counted from 1) and redraw if it is time.

        Args:
            current: number of steps done.
            values: pairs of metric name and value.
            finalize: whether this is the last update; by default it is when the target is reached.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            self._record(name, _scalar(value), current, finalize)
        self._seen = current
        now = clock()
        duration = self._step_duration(current, now)
        if self.verbose == 1 and (finalize or (self.redraws and now - self._last_update >= self.interval)):
            self._draw_bar(current, now, duration, finalize)
        elif self.verbose == 2 and finalize and self.target:
            count = f"{current:{_digits(self.target)}d}/{self.target}"
            elapsed = f"{now - self._start:.0f}s"
            time_text = format_step_time(duration, self.unit_name)
            _write(f"{count} - {elapsed} - {time_text}{self._metrics_text()}\n")
        self._last_update = now

    def add(self, steps: int, values: Sequence[tuple[str, object]] | None = None) -> None:
        """Record so many more steps."""
        self.update(self._seen + steps, values)

    def is_due(self) -> bool:
        """Whether an update now would show, or is needed to measure the time of a step."""
        if self._first_update is None:
            return True
        return self.verbose == 1 and self.redraws and clock() - self._last_update >= self.interval

    def _record(self, name: str, value: float, current: int, finalize: bool) -> None:
        if self.stateless_metrics is not None:
            averaged = name in self.stateless_metrics
        else:
            averaged = name not in (self.stateful_metrics or ())
        if not averaged or finalize:
            self._values[name] = (value, 1.0)
            return
        steps = max(current - self._seen, 1)
        total, count = self._values.get(name, (0.0, 0.0))
        self._values[name] = (total + value * steps, count + steps)

    def _step_duration(self, current: int, now: float) -> float:
        """Seconds a step takes; those before the first update, which compile, count only while there are no others."""
        if not current:
            return 0.0
        if self._first_update is None:
            self._first_update = (current, now)
        steps, then = self._first_update
        if current > steps:
            return (now - then) / (current - steps)
        return (then - self._start) / current

    def _draw_bar(self, current: int, now: float, duration: float, finalize: bool) -> None:
        if self.target:
            digits = _digits(self.target)
            counter = f"{current:{digits}d}/{self.target}"
            done = min(int(self.width * current / self.target), self.width)
        else:
            counter, done = f"{current:7d}/Unknown", 0
        if self.target and not finalize:
            elapsed = format_remaining(duration * (self.target - current))
        else:
            elapsed = f"{now - self._start:.0f}s"
        tail = f"{format_step_time(duration, self.unit_name)}{self._metrics_text()}"
        full, empty = _bar_characters()
        bar = (full * done, empty * (self.width - done)) if self.target else ("", "")
        plain = " ".join(filter(None, (counter, "".join(bar), elapsed, tail)))
        if not self.redraws:
            _write(plain + "\n")
            return
        bold_elapsed = f"\x1b[1m{elapsed}\x1b[0m"
        if self.target:
            green = f"\x1b[32m{bar[0]}\x1b[0m" if done else ""
            line = f"\x1b[1m{counter}\x1b[0m {green}\x1b[37m{bar[1]}\x1b[0m {bold_elapsed} {tail}"
        else:
            line = f"{counter} {bold_elapsed} {tail}"
        padding = " " * max(self._previous_width - len(plain), 0)
        _write("\b" * self._previous_width + "\r" + line + padding + ("\n" if finalize else ""))
        self._previous_width = len(plain)

    def _metrics_text(self) -> str:
        parts = []
        for name, (total, count) in self._values.items():
            average = total / max(1.0, count)
            # A NaN fails the comparison with 1e-3, and both formats print it as "nan".
            parts.append(f" - {name}: {average:.4f}" if abs(average) > 1e-3 else f" - {name}: {average:.4e}")
        return "".join(parts)


def format_step_time(seconds: float, unit: str) -> str:
    """Time of one step in s, ms or us, e.g. `12ms/step`."""
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s/{unit}"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.0f}ms/{unit}"
    return f"{seconds * 1e6:.0f}us/{unit}"


def format_remaining(seconds: float) -> str:
    """Time left as `5s`, `1:05` or `2:00:05`."""
    whole = int(seconds)
    if seconds > 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    if seconds > 60:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole}s"


def can_redraw() -> bool:
    """Whether standard output understands carriage returns: a terminal or a notebook."""
    terminal = getattr(sys.stdout, "isatty", None)
    return bool(terminal and terminal()) or "ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ


def _digits(target: int) -> int:
    return int(math.log10(target)) + 1


def _scalar(value: object) -> float:
    """A metric's value as one number: arrays, such as one score for each class, are averaged."""
    return float(value) if isinstance(value, (int, float)) else float(np.mean(np.asarray(value)))


def _bar_characters() -> tuple[str, str]:
    """The bar's done and open characters; plain ones where the output's encoding lacks the line."""
    try:
        "━".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "=", "-"
    return "━", "━"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
