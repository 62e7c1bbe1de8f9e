"""Checks that the type rules share; every message says what was expected and what was received."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.types import FLOAT_DTYPES, SHORT_NAMES, TensorType
from runtime.dimensions import Dim, is_nonnegative

INTEGER_DTYPES = tuple(name for name in SHORT_NAMES if "int" in name)
ACCEPTED: dict[str, tuple[str, ...]] = {
    "any": tuple(SHORT_NAMES),
    "number": (*FLOAT_DTYPES, *INTEGER_DTYPES),
    "float": FLOAT_DTYPES,
    "integer": INTEGER_DTYPES,
    "bool": ("bool",),
}

SYMBOLIC_HINT = " Symbolic extents count as equal only if they are the same expression."


def require_inputs(op: str, inputs: Sequence[TensorType], count: int) -> None:
    """Raise TypeError unless the op got `count` inputs."""
    if len(inputs) != count:
        raise TypeError(f"{op}: expected {count} input{'s' * (count != 1)}. Received: {len(inputs)}")


def require_dtype(op: str, type_: TensorType, accepts: str, what: str = "input") -> None:
    """Raise TypeError unless the element type is one of those named by `accepts`."""
    if type_.dtype not in ACCEPTED[accepts]:
        raise TypeError(
            f"{op}: {what} must have {'an' if accepts == 'integer' else 'a'} {accepts} dtype "
            f"({', '.join(ACCEPTED[accepts])}). Received: {type_}. Cast it first."
        )


def require_same_dtype(op: str, left: TensorType, right: TensorType) -> None:
    """Raise TypeError unless two inputs share their dtype."""
    if left.dtype != right.dtype:
        raise TypeError(f"{op}: inputs must have one dtype (cast is an op of its own). Received: {left} and {right}")


def require_rank(op: str, type_: TensorType, rank: int, what: str = "input", at_least: bool = False) -> None:
    """Raise ValueError unless the rank is (at least) `rank`."""
    if type_.rank == rank or (at_least and type_.rank > rank):
        return
    bound = "at least " if at_least else ""
    raise ValueError(f"{op}: {what} must have rank {bound}{rank}. Received: {type_} of rank {type_.rank}")


def require_equal_extents(op: str, what: str, left: Dim, right: Dim) -> None:
    """Raise ValueError, naming both, unless two extents are the same number or expression."""
    if left == right:
        return
    hint = "" if isinstance(left, int) and isinstance(right, int) else SYMBOLIC_HINT
    raise ValueError(f"{op}: {what} must be equal. Received: {left} and {right}.{hint}")


def require_not_negative(op: str, what: str, value: Dim) -> None:
    """Raise ValueError if a size is known to be negative."""
    if isinstance(value, int) and value < 0:
        raise ValueError(f"{op}: {what} must not be negative. Received: {value}")


def is_at_most(lower: Dim, upper: Dim) -> bool:
    """Whether `lower <= upper` for every value of the symbols, as far as can be proved."""
    return is_nonnegative(upper - lower)


def require_axes(op: str, axes: Sequence[int], rank: int, ordered: bool = True) -> None:
    """Raise ValueError unless `axes` are distinct axes of a tensor of that rank, ascending if `ordered`."""
    wrong = any(not 0 <= axis < rank for axis in axes) or len(set(axes)) != len(axes)
    if wrong or (ordered and list(axes) != sorted(axes)):
        order = "ascending, " if ordered else ""
        raise ValueError(
            f"{op}: axes must be distinct, {order}from 0 to {rank - 1} for an input of rank {rank}. "
            f"Received: axes={tuple(axes)}"
        )


def require_length(op: str, what: str, values: Sequence[object], rank: int) -> None:
    """Raise ValueError unless a per-axis attribute has one entry an axis."""
    if len(values) != rank:
        raise ValueError(f"{op}: {what} needs one entry for each of the {rank} axes. Received: {what}={tuple(values)}")


def concrete(shape: Sequence[Dim]) -> tuple[int, ...]:
    """Sizes as plain numbers, for `reference`. Raises ValueError if an op's symbols were not bound."""
    if symbolic := [str(extent) for extent in shape if not isinstance(extent, int)]:
        raise ValueError(f"reference needs numbers for the symbolic extents {symbolic}: bind the op first.")
    return tuple(int(extent) for extent in shape if isinstance(extent, int))
