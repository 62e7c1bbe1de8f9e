"""Learning rates that fall along a cosine: Loshchilov and Hutter, "SGDR" (2017)."""

from __future__ import annotations

import math
from typing import Any

from graphcore import ops
from graphcore.optimizers.schedules.schedule import LearningRateSchedule, as_float, checked_steps


def _half_cosine(fraction: Any, alpha: float) -> Any:
    """From 1 at fraction 0 along half a cosine to `alpha` at fraction 1."""
    return (1.0 - alpha) * 0.5 * (1.0 + ops.cos(math.pi * fraction)) + alpha


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate to `alpha` times it, after an optional linear warm-up.

    Args:
        initial_learning_rate: rate at step 0.
        decay_steps: steps of the decay, positive; the rate stays at its end.
        alpha: share of the rate that remains.
        name: name.
        warmup_target: rate at the end of the warm-up, where the decay starts; None for no warm-up.
        warmup_steps: steps of the warm-up, before the decay.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = checked_steps(decay_steps, "decay_steps")
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        """The learning rate after `step` steps."""
        step = as_float(step)
        if self.warmup_target is None:
            fraction = ops.minimum(step, self.decay_steps) / self.decay_steps
            return self.initial_learning_rate * _half_cosine(fraction, self.alpha)
        after = ops.clip(step - self.warmup_steps, 0.0, self.decay_steps)
        decayed = self.warmup_target * _half_cosine(after / self.decay_steps, self.alpha)
        if self.warmup_steps <= 0:
            return decayed
        span = self.warmup_target - self.initial_learning_rate
        warming = span * (step / self.warmup_steps) + self.initial_learning_rate
        return ops.where(step < self.warmup_steps, warming, decayed)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
            "name": self.name,
            "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }


class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine, begun again and again.

    Args:
        initial_learning_rate: rate at step 0.
        first_decay_steps: steps of the first period, positive.
        t_mul: each period is this many times as long as the one before.
        m_mul: each period starts at this share of the rate of the one before.
        alpha: share of the rate that remains at the end of a period.
        name: name.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = checked_steps(first_decay_steps, "first_decay_steps")
        self._t_mul = t_mul
        self._m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: Any) -> Any:
        """The learning rate after `step` steps."""
        periods = as_float(step) / self.first_decay_steps
        if self._t_mul == 1.0:
            restarts = ops.floor(periods)
            fraction = periods - restarts
        else:
            grown = ops.log(1.0 - periods * (1.0 - self._t_mul)) / math.log(self._t_mul)
            restarts = ops.floor(grown)
            length = ops.power(self._t_mul, restarts)
            fraction = (periods - (1.0 - length) / (1.0 - self._t_mul)) / length
        height = ops.power(self._m_mul, restarts) * 0.5 * (1.0 + ops.cos(math.pi * fraction))
        return self.initial_learning_rate * ((1.0 - self.alpha) * height + self.alpha)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "first_decay_steps": self.first_decay_steps,
            "t_mul": self._t_mul,
            "m_mul": self._m_mul,
            "alpha": self.alpha,
            "name": self.name,
        }
