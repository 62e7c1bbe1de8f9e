"""Products of matrices and tensors."""

from __future__ import annotations

from collections.abc import Sequence

from compiler import functions as f
from compiler.ir import Builder, Value
from graphcore.ops.dispatch import Tensor, Tensors, operation
from graphcore.ops.einsum_plan import einsum_of
from graphcore.ops.keras_class import keras_class


@keras_class("numpy")
@operation
def matmul(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """The matrix product over the last two axes; the axes before them broadcast."""
    return f.matmul(b, x1, x2)


@keras_class("numpy")
@operation
def dot(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """The sum over the last axis of x1 and the last but one of x2 (its only one, if it is a vector)."""
    if x1.type.rank == 0 or x2.type.rank == 0:
        return f.multiply(b, x1, x2)
    if x2.type.rank <= 2:
        return f.matmul(b, x1, x2)
    return f.tensordot(b, x1, x2, ((x1.type.rank - 1,), (x2.type.rank - 2,)))


@keras_class("numpy", "axes")
@operation
def tensordot(b: Builder, x1: Tensor, x2: Tensor, axes: int | Sequence[Sequence[int]] = 2) -> Value:
    """The sum over the last `axes` axes of x1 with the first of x2, or over two given lists of axes."""
    if isinstance(axes, int):
        return f.tensordot(b, x1, x2, axes)
    lists = [[axis] if isinstance(axis, int) else list(axis) for axis in axes]
    return f.tensordot(b, x1, x2, lists)


@keras_class("numpy")
@operation
def outer(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """Every product of an element of x1 with one of x2."""
    return f.multiply(b, f.reshape(b, x1, (-1, 1)), f.reshape(b, x2, (1, -1)))


@keras_class("numpy")
@operation
def inner(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """The sum over the last axis of both."""
    if x1.type.rank == 0 or x2.type.rank == 0:
        return f.multiply(b, x1, x2)
    return f.tensordot(b, x1, x2, ((x1.type.rank - 1,), (x2.type.rank - 1,)))


@keras_class("numpy")
@operation
def vdot(b: Builder, x1: Tensor, x2: Tensor) -> Value:
    """The inner product of the flattened tensors."""
    return f.reduce_sum(b, f.multiply(b, f.reshape(b, x1, (-1,)), f.reshape(b, x2, (-1,))))


@keras_class("numpy", "subscripts", operands="operands")
@operation
def _einsum(b: Builder, subscripts: str, operands: Tensors) -> Value:
    """Sum of products over repeated letters."""
    return einsum_of(b, subscripts, operands)


def einsum(subscripts: str, *operands: object) -> Value:
    """Einstein summation, e.g. `einsum("bqd,bkd->bqk", query, key)`.

    Raises:
        ValueError: if the subscripts do not fit the operands.
    """
    return _einsum(subscripts, list(operands))  # type: ignore[no-any-return]
