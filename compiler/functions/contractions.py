"""Products of matrices and tensors."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.functions.core import broadcast_shapes, broadcast_to, cast, common_dtype, emit, normalize_axes
from compiler.functions.shapes import expand_dims, reshape, squeeze, transpose
from compiler.ir import Builder, Value
from compiler.types import product


def matmul(b: Builder, x: Value, y: Value, transpose_a: bool = False, transpose_b: bool = False) -> Value:
    """NumPy's matmul: the last two axes are matrices, the axes before them broadcast, vectors get an axis.

    The transpose flags apply to operands of rank 2 and more.
    """
    dtype = common_dtype((x, y))
    x, y = cast(b, x, dtype), cast(b, y, dtype)
    for value in (x, y):
        if value.type.rank == 0:
            raise ValueError(f"matmul: operands must have rank 1 or more. Received: {x.type} and {y.type}")
    row, column = x.type.rank == 1, y.type.rank == 1
    x = expand_dims(b, x, 0) if row else x
    y = expand_dims(b, y, 1) if column else y
    x, y = _common_batch(b, x, y)
    result = emit(b, "matmul", x, y, transpose_a=transpose_a and not row, transpose_b=transpose_b and not column)
    rank = result.type.rank
    dropped = [axis for axis, vector in ((rank - 2, row), (rank - 1, column)) if vector]
    return squeeze(b, result, dropped) if dropped else result


def _common_batch(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    if y.type.rank == 2:
        return x, y
    batch = broadcast_shapes(x.type.shape[:-2], y.type.shape[:-2])
    return (
        broadcast_to(b, x, (*batch, *x.type.shape[-2:])),
        broadcast_to(b, y, (*batch, *y.type.shape[-2:])),
    )


def tensordot(b: Builder, x: Value, y: Value, axes: int | Sequence[Sequence[int]] = 2) -> Value:
    """Sum over the last `axes` axes of x with the first of y, or over the two given lists of axes."""
    if isinstance(axes, int):
        of_x, of_y = list(range(x.type.rank - axes, x.type.rank)), list(range(axes))
    else:
        of_x, of_y = list(axes[0]), list(axes[1])
    normalize_axes(of_x, x.type.rank), normalize_axes(of_y, y.type.rank)
    of_x, of_y = [axis % x.type.rank for axis in of_x], [axis % y.type.rank for axis in of_y]
    if len(of_x) != len(of_y):
        raise ValueError(f"tensordot: as many axes of each operand are summed over. Received: axes={axes}")
    kept_x = [axis for axis in range(x.type.rank) if axis not in of_x]
    kept_y = [axis for axis in range(y.type.rank) if axis not in of_y]
    inner = product(tuple(x.type.shape[axis] for axis in of_x))
    left = [x.type.shape[axis] for axis in kept_x]
    right = [y.type.shape[axis] for axis in kept_y]
    for i, j in zip(of_x, of_y, strict=True):
        if x.type.shape[i] != y.type.shape[j]:
            raise ValueError(
                f"tensordot: axis {i} of {x.type} and axis {j} of {y.type} must have one extent. "
                f"Received: {x.type.shape[i]} and {y.type.shape[j]}"
            )
    flat_x = reshape(b, transpose(b, x, kept_x + of_x), (product(tuple(left)), inner))
    flat_y = reshape(b, transpose(b, y, of_y + kept_y), (inner, product(tuple(right))))
    return reshape(b, matmul(b, flat_x, flat_y), (*left, *right))
