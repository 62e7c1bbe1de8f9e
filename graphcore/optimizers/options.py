"""Arguments that every optimizer takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np

from graphcore.identifiers import close_matches


class SharedOptions(TypedDict, total=False):
    """Keyword arguments that every optimizer takes and hands on. See `Optimizer`."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None


class Options(SharedOptions, total=False):
    """`SharedOptions`, and weight decay."""

    weight_decay: float | None


DEFAULTS: dict[str, Any] = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
    "name": None,
}


def check_learning_rate(learning_rate: Any) -> None:
    """Raise ValueError unless it is a number."""
    if isinstance(learning_rate, bool) or not isinstance(learning_rate, (int, float, np.number)):
        raise ValueError(
            "Expected `learning_rate` to be a float, a `LearningRateSchedule`, or a function without "
            f"arguments. Received: learning_rate={learning_rate!r} of type {type(learning_rate).__name__}"
        )


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError for an unknown option or one outside its values."""
    for name in options:
        if name not in DEFAULTS:
            hint = close_matches(name, [*DEFAULTS, "learning_rate"]) or (
                " Use `learning_rate`." if name == "lr" else ""
            )
            raise ValueError(f"Optimizers take no argument '{name}'.{hint} Received: {dict(options)}")
    steps, frequency = options.get("gradient_accumulation_steps"), options.get("ema_overwrite_frequency")
    if steps and (not isinstance(steps, int) or steps < 2):
        raise ValueError(
            f"Expected `gradient_accumulation_steps` to be an integer >= 2. "
            f"Received: gradient_accumulation_steps={steps}"
        )
    if options.get("use_ema"):
        momentum = options.get("ema_momentum", DEFAULTS["ema_momentum"])
        if not 0 <= momentum <= 1:
            raise ValueError(f"Expected `ema_momentum` in [0, 1]. Received: ema_momentum={momentum}")
        if frequency and (not isinstance(frequency, int) or frequency < 1):
            raise ValueError(
                f"Expected `ema_overwrite_frequency` to be an integer >= 1 or None. "
                f"Received: ema_overwrite_frequency={frequency}"
            )
    clips = ("clipnorm", "clipvalue", "global_clipnorm")
    if sum(options.get(key) is not None for key in clips) > 1:
        given = ", ".join(f"{key}={options.get(key)}" for key in clips)
        raise ValueError(f"Only one of {', '.join(clips)} can be set. Received: {given}")
