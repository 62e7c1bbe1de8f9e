"""Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any, Unpack

from graphcore.optimizers.adam import Adam
from graphcore.optimizers.options import SharedOptions


class AdamW(Adam):
    """Adam whose weights first decay by `weight_decay · learning_rate` of themselves (Loshchilov and Hutter,
    2019).

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        weight_decay: share of a weight that decays, times the learning rate.
        beta_1: decay of the average of gradients.
        beta_2: decay of the average of squares.
        epsilon: keeps the division finite.
        amsgrad: divide by the largest average of squares so far.
        options: see `Optimizer`.

    Raises:
        ValueError: `weight_decay` is None; use `Adam`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[SharedOptions],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)
        if weight_decay is None:
            raise ValueError("AdamW needs a float `weight_decay`. Received: weight_decay=None. Use `Adam`.")
