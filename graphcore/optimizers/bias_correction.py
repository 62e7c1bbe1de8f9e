"""Correction of moving averages that start at zero."""

from __future__ import annotations

import math
from typing import Any

from graphcore import ops


def one_minus_power(beta: float, exponent: Any) -> Any:
    """`1 - beta^exponent` without cancellation: `-expm1(exponent · log(beta))`.

    Computed as written, float32 loses four digits for beta = 0.999 in the first steps.
    """
    if beta <= 0:
        return ops.ones_like(exponent)
    return -ops.expm1(exponent * math.log(beta))
