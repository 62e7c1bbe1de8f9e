"""Cross-entropies, with the numbers of Keras on its JAX backend."""

from __future__ import annotations

from typing import Any

from compiler import functions as f
from compiler.ir import Builder, Value
from compiler.types import is_float
from graphcore import settings
from graphcore.ops.dispatch import Tensor, operation
from graphcore.ops.elementwise import to_float
from graphcore.ops.keras_class import keras_class


def _clipped(b: Builder, probabilities: Value) -> Value:
    fuzz = settings.epsilon()
    return f.minimum(b, f.maximum(b, probabilities, fuzz), 1 - fuzz)


def _log_probabilities(b: Builder, output: Value, from_logits: bool, axis: int) -> Value:
    """Logarithms of probabilities: softmax of logits, or probabilities renormalised and clipped."""
    if from_logits:
        return f.log_softmax(b, output, axis)
    normalised = f.divide(b, output, f.reduce_sum(b, output, axis, True))
    return f.log(b, _clipped(b, normalised))


def _require(condition: bool, message: str, target: Value, output: Value) -> None:
    if not condition:
        raise ValueError(f"{message} Received: target.shape={_shape(target)}, output.shape={_shape(output)}")


def _shape(value: Value) -> str:
    return "(" + ", ".join("None" if not isinstance(e, int) else str(e) for e in value.type.shape) + ")"


def _same_extents(first: Any, second: Any) -> bool:
    return len(first) == len(second) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in zip(first, second, strict=True)
    )


@keras_class("nn", "from_logits axis")
@operation
def categorical_crossentropy(
    b: Builder, target: Tensor, output: Tensor, from_logits: bool = False, axis: int = -1
) -> Value:
    """-sum(target log(output)) over an axis.

    Args:
        target: one-hot or soft labels, [..., classes].
        output: probabilities (renormalised, then clipped to [epsilon, 1 - epsilon]) or logits, [..., classes].
        from_logits: whether the output is logits.
        axis: the axis of the classes.

    Raises:
        ValueError: if the shapes differ or are scalar.
    """
    output = to_float(b, output)
    _require(target.type.rank > 0, "Arguments `target` and `output` must be at least rank 1.", target, output)
    fits = _same_extents(target.type.shape, output.type.shape)
    _require(fits, "Arguments `target` and `output` must have the same shape.", target, output)
    target = f.cast(b, target, output.type.dtype)
    logarithms = _log_probabilities(b, output, from_logits, axis)
    return f.negative(b, f.reduce_sum(b, f.multiply(b, target, logarithms), axis))


@keras_class("nn", "from_logits axis")
@operation
def sparse_categorical_crossentropy(
    b: Builder, target: Tensor, output: Tensor, from_logits: bool = False, axis: int = -1
) -> Value:
    """-log(output[target]) along an axis; 0 for a target outside of the classes.

    Args:
        target: class numbers, of output's shape without its last axis (an axis of extent 1 in its place is dropped).
        output: probabilities (renormalised, then clipped to [epsilon, 1 - epsilon]) or logits, [..., classes].
        from_logits: whether the output is logits.
        axis: the axis of the classes.

    Raises:
        ValueError: if the shapes do not fit.
    """
    output = to_float(b, output)
    if target.type.rank == output.type.rank and target.type.shape[-1] == 1:
        target = f.squeeze(b, target, -1)
    _require(output.type.rank > 0, "Argument `output` must be at least rank 1.", target, output)
    place = f.normalize_axis(axis, output.type.rank)
    kept = output.type.shape[:place] + output.type.shape[place + 1 :]
    fits = _same_extents(target.type.shape, kept)
    _require(
        fits, "Arguments `target` and `output` must have the same shape up until the last dimension.", target, output
    )
    if is_float(target.type.dtype) or target.type.dtype == "bool":
        target = f.cast(b, target, "int32")
    logarithms = _log_probabilities(b, output, from_logits, place)
    classes = f.iota(b, output.type.shape, place, target.type.dtype)
    chosen = f.equal(b, classes, f.expand_dims(b, target, place))
    return f.negative(b, f.reduce_sum(b, f.where(b, chosen, logarithms, 0), place))


@keras_class("nn", "from_logits")
@operation
def binary_crossentropy(b: Builder, target: Tensor, output: Tensor, from_logits: bool = False) -> Value:
    """-target log(output) - (1 - target) log(1 - output), element by element.

    Args:
        target: labels in [0, 1].
        output: probabilities, clipped to [epsilon, 1 - epsilon], or logits; of target's shape.
        from_logits: whether the output is logits.

    Raises:
        ValueError: if the shapes differ.
    """
    output = to_float(b, output)
    fits = _same_extents(target.type.shape, output.type.shape)
    _require(fits, "Arguments `target` and `output` must have the same shape.", target, output)
    target = f.cast(b, target, output.type.dtype)
    if from_logits:
        # softplus(x) - target x, without overflow.
        tail = f.log1p(b, f.exp(b, f.negative(b, f.absolute(b, output))))
        return f.add(b, f.subtract(b, f.maximum(b, output, 0), f.multiply(b, output, target)), tail)
    output = _clipped(b, output)
    hit = f.multiply(b, target, f.log(b, output))
    miss = f.multiply(b, f.subtract(b, 1, target), f.log(b, f.subtract(b, 1, output)))
    return f.negative(b, f.add(b, hit, miss))
