"""Panels: kernels and matrices in the order in which the micro-kernel reads them, [panels, steps, columns].

A matrix [steps, channels], a row for each step of a sum and a column for each channel of the result, is cut into
panels of `columns` channels side by side. The last one is filled up with zeros.
"""

from __future__ import annotations

from compiler.ir import Array
from compiler.ops.checks import require_equal_extents, require_rank
from compiler.types import TensorType
from runtime.dimensions import Dim, ceil_div

__all__ = ["matrix_of", "require_panels"]


def require_panels(name: str, panels: TensorType, steps: Dim, channels: int, what: str) -> None:
    """Raise unless panels hold a matrix of these steps and channels; `what` the channels are is for the message.

    Raises:
        ValueError: naming the op, what was expected and what was received.
    """
    require_rank(name, panels, 3, "panels")
    require_equal_extents(name, f"rows of panels {panels} and steps of the sum", panels.shape[1], steps)
    columns = panels.shape[2]
    if not isinstance(columns, int) or columns < 1 or panels.shape[0] != ceil_div(channels, columns):
        raise ValueError(f"{name}: panels must hold {channels} {what}. Received: {panels}")


def matrix_of(panels: Array, channels: int) -> Array:
    """The matrix [steps, channels] that panels hold."""
    return panels.transpose(1, 0, 2).reshape(panels.shape[1], -1)[:, :channels]
