"""Gradients inside a traced step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.passes.differentiate import emit_gradient
from graphcore.tensor import KerasTensor
from graphcore.tracing import current_trace
from graphcore.variable import Variable


def gradients(loss: Any, variables: Sequence[Variable]) -> list[KerasTensor]:
    """Derivatives of a scalar loss with respect to variables, for use in an overridden `train_step`.

    Args:
        loss: scalar tensor of the program being traced.
        variables: differentiated by their values at the start of the step; zeros for those that the loss does
            not depend on.

    Raises:
        RuntimeError: outside of a traced step.
        ValueError: if the loss is no scalar.
    """
    trace = current_trace()
    if trace is None:
        raise RuntimeError(
            "gradients() works inside a traced step only: call it in `train_step`, which `fit` and "
            "`train_on_batch` trace."
        )
    if not isinstance(loss, KerasTensor) or loss.ndim != 0:
        raise ValueError(f"gradients() needs a scalar loss of the traced step. Received: {loss!r}")
    wrt = [trace.unwrap(trace.initial(variable)) for variable in variables]
    return [trace.wrap(value) for value in emit_gradient(trace.builder, trace.unwrap(loss), wrt)]
