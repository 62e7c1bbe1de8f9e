"""Run something with other values in variables, and put their own values back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from graphcore.tracing import current_trace
from graphcore.variable import Variable


def snapshot(variable: Variable) -> Any:
    """The present value, safe from later assignments: a tensor of the open trace, or a copied array."""
    return variable.numpy() if current_trace() is None else variable.value


@contextlib.contextmanager
def temporary_values(variables: Sequence[Variable], values: Sequence[Any], argument: str) -> Iterator[None]:
    """Inside, each variable has the given value; afterwards all have their own again.

    Raises:
        ValueError: another number of values than of variables; the message names `argument`.
    """
    if len(values) != len(variables):
        raise ValueError(
            f"Expected `{argument}` to hold one value for each of the {len(variables)} variables. "
            f"Received {len(values)} values."
        )
    before = [snapshot(variable) for variable in variables]
    try:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
