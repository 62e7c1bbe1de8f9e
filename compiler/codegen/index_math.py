"""Division of positions. A position is never negative, so unsigned division gives the floor in fewer instructions."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


@intrinsic
def index_floor_divide(typing_context: Any, position: Any, extent: Any) -> Any:
    """`position // extent` for a position of at least 0 and an extent of at least 1."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.udiv(*values)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def index_remainder(typing_context: Any, position: Any, extent: Any) -> Any:
    """`position % extent` for a position of at least 0 and an extent of at least 1."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.urem(*values)

    return types.int64(types.int64, types.int64), generate


def index_namespace() -> dict[str, Any]:
    """Names for kernel source."""
    return {"index_floor_divide": index_floor_divide, "index_remainder": index_remainder}
