"""Emitting ops by name, promotion of element types, and broadcasting of shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from compiler.ir import Builder, Op, Value
from compiler.ops.registry import OPS
from compiler.types import is_float
from runtime.dimensions import Dim

Scalar: TypeAlias = float | int | bool
Operand: TypeAlias = Value | Scalar

DEFAULT_FLOAT, DEFAULT_INTEGER = "float32", "int32"


def make(name: str, **attributes: Any) -> Op:
    """An op by its name in the registry (resolved when called, so that ops may use one another)."""
    constructor: Callable[..., Op] = OPS[name]
    return constructor(**attributes)


def emit(b: Builder, name: str, *values: Value, **attributes: Any) -> Value:
    """Append an op with one result, by name."""
    return b.emit(make(name, **attributes), *values)


def promote(left: str, right: str) -> str:
    """The dtype of a result of two tensors, by the lattice that JAX and Keras 3 use.

    A float wins over any integer; of two floats or two integers of one sign the wider wins; a signed and an
    unsigned integer need a signed one that holds both (uint64 and a signed integer: float32).
    """
    if left == right or right == "bool":
        return left
    if left == "bool":
        return right
    if is_float(left) != is_float(right):
        return left if is_float(left) else right
    if {left, right} & {"uint64"} and not (left.startswith("uint") and right.startswith("uint")):
        return DEFAULT_FLOAT
    return str(np.promote_types(left, right))


def scalar_dtype(value: Scalar, dtype: str) -> str:
    """The dtype that a tensor of `dtype` and a Python number give.

    The number is weak: the tensor's dtype stays, unless the number's kind is above the tensor's.
    """
    if isinstance(value, (float, np.floating)) and not is_float(dtype):
        return DEFAULT_FLOAT
    if not isinstance(value, (bool, np.bool_)) and dtype == "bool":
        return DEFAULT_INTEGER
    return dtype


def require_operand(x: object) -> None:
    """Raise TypeError unless this is a tensor or a number."""
    if isinstance(x, (Value, int, float, np.number, np.bool_)):
        return
    hint = " Make an array a Value with functions.constant." if isinstance(x, np.ndarray) else ""
    raise TypeError(f"Expected a Value or a number. Received: {x!r} of {type(x).__name__}.{hint}")


def common_dtype(operands: Sequence[Operand]) -> str:
    """The dtype all operands are brought to.

    Raises:
        TypeError: if none of them is a tensor, or one is neither tensor nor number.
    """
    result: str | None = None
    for operand in operands:
        require_operand(operand)
        if isinstance(operand, Value):
            result = operand.type.dtype if result is None else promote(result, operand.type.dtype)
    if result is None:
        raise TypeError(
            f"Expected at least one Value among the operands (make one with functions.full). Received: {operands}"
        )
    for operand in operands:
        if not isinstance(operand, Value):
            result = scalar_dtype(operand, result)
    return result


def broadcast_shapes(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The shape that NumPy's rules give: aligned at the right, an extent of 1 takes the other's.

    Raises:
        ValueError: if two extents differ and neither is 1; symbolic ones are equal if the same expression.
    """
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = [1] * rank
    for shape in shapes:
        for axis, extent in enumerate(shape, rank - len(shape)):
            if result[axis] == 1:
                result[axis] = extent
            elif extent not in (1, result[axis]):
                shown = " and ".join(f"({', '.join(map(str, s))})" for s in shapes)
                raise ValueError(
                    f"Shapes {shown} do not broadcast: on axis {axis} of the result the extents "
                    f"{result[axis]} and {extent} differ and neither is 1."
                    + (" Symbolic extents count as equal only if they are the same expression.")
                    * (not (isinstance(extent, int) and isinstance(result[axis], int)))
                )
    return tuple(result)


def cast(b: Builder, x: Value, dtype: str) -> Value:
    """Convert to another dtype; nothing is emitted if it has it already."""
    return x if x.type.dtype == dtype else emit(b, "cast", x, dtype=dtype)


def full(b: Builder, shape: Sequence[Dim], value: Scalar, dtype: str = DEFAULT_FLOAT) -> Value:
    """A tensor whose elements are all `value`."""
    return emit(b, "full", shape=tuple(shape), value=value, dtype=dtype)


def broadcast_in(b: Builder, x: Value, shape: Sequence[Dim], axes: Sequence[int]) -> Value:
    """Broadcast with input axis i placed at result axis `axes[i]`."""
    if tuple(shape) == x.type.shape:
        return x
    return emit(b, "broadcast", x, shape=tuple(shape), axes=tuple(axes))


def spread(b: Builder, x: Value, shape: Sequence[Dim], axes: Sequence[int]) -> Value:
    """What a reduction over `axes` gave, repeated along them into `shape`; no axes of extent 1 in between."""
    return broadcast_in(b, x, shape, [axis for axis in range(len(shape)) if axis not in axes])


def widen(b: Builder, x: Value) -> Value:
    """float16 as float32, for sums; other tensors as they are."""
    return cast(b, x, "float32") if x.type.dtype == "float16" else x


def broadcast_to(b: Builder, x: Value, shape: Sequence[Dim]) -> Value:
    """Broadcast by NumPy's rules, aligned at the right."""
    offset = len(shape) - x.type.rank
    if offset < 0:
        raise ValueError(f"Cannot broadcast {x.type} to shape {tuple(shape)}, which has fewer axes.")
    return broadcast_in(b, x, shape, range(offset, len(shape)))


def fit(b: Builder, x: Operand, shape: Sequence[Dim], dtype: str) -> Value:
    """A tensor or number as a tensor of this shape and dtype."""
    if isinstance(x, Value):
        return broadcast_to(b, cast(b, x, dtype), shape)
    return full(b, shape, x, dtype)


def to_values(b: Builder, operands: Sequence[Operand], dtype: str | None = None) -> list[Value]:
    """All operands as tensors of one dtype (the promoted one unless given) and one shape."""
    dtype = common_dtype(operands) if dtype is None else dtype
    shape = broadcast_shapes(*(x.type.shape for x in operands if isinstance(x, Value)))
    return [fit(b, x, shape, dtype) for x in operands]


def as_value(b: Builder, x: Operand) -> Value:
    """A tensor; a Python number becomes a scalar of its default dtype."""
    if isinstance(x, Value):
        return x
    require_operand(x)
    if isinstance(x, (bool, np.bool_)):
        return full(b, (), bool(x), "bool")
    return full(b, (), x, DEFAULT_INTEGER if isinstance(x, (int, np.integer)) else DEFAULT_FLOAT)


def normalize_axis(axis: int, rank: int) -> int:
    """The axis counted from the front.

    Raises:
        ValueError: if there is no such axis.
    """
    if not -rank <= axis < rank:
        raise ValueError(f"axis must lie in {-rank}..{rank - 1} for a tensor of rank {rank}. Received: axis={axis}")
    return axis % rank


def normalize_axes(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Ascending axes counted from the front; None means all.

    Raises:
        ValueError: if there is no such axis or one is named twice.
    """
    if axes is None:
        return tuple(range(rank))
    chosen = [normalize_axis(axis, rank) for axis in ([axes] if isinstance(axes, int) else axes)]
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"axes must be distinct. Received: axes={axes} for a tensor of rank {rank}")
    return tuple(sorted(chosen))
