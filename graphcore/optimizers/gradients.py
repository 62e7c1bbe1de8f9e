"""What happens to gradients before an optimizer uses them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from graphcore import ops
from graphcore.variable import Variable


def clip_by_norm(gradient: Any, largest: float) -> Any:
    """The gradient, shortened to the L2 norm `largest` where it is longer."""
    norm = ops.sqrt(ops.sum(ops.square(gradient)))
    return gradient * largest / ops.maximum(norm, largest)


def clip_by_global_norm(gradients: Sequence[Any], largest: float) -> list[Any]:
    """Gradients, all shortened by one factor so that their common L2 norm is at most `largest`.

    A norm that is not finite makes every gradient NaN, as in Keras.
    """
    total: Any = ops.sum(ops.square(gradients[0]))
    for gradient in gradients[1:]:
        total = total + ops.sum(ops.square(gradient))
    norm = ops.sqrt(total)
    factor = ops.where(norm < math.inf, largest / ops.maximum(norm, largest), math.nan)
    return [gradient * factor for gradient in gradients]


def without_missing(grads: Sequence[Any], variables: Sequence[Variable]) -> tuple[list[Any], list[Variable]]:
    """Gradients and variables without the pairs whose gradient is None; warns about these.

    Raises:
        ValueError: every gradient is None.
    """
    pairs = list(zip(grads, variables, strict=True))
    missing = [variable.path for gradient, variable in pairs if gradient is None]
    if len(missing) == len(pairs):
        raise ValueError(
            f"No gradient for any variable: the loss depends on none of {missing}. Check that the loss is "
            f"computed from the model's output."
        )
    if missing:
        warnings.warn(
            f"Gradients do not exist for variables {missing} when minimizing the loss. If using "
            f"`model.compile()`, did you forget to provide a `loss` argument?",
            stacklevel=4,
        )
    present = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
    return [gradient for gradient, _ in present], [variable for _, variable in present]
