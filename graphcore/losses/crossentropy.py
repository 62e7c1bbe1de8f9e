"""Crossentropies.

From probabilities (`from_logits=False`, the default) the numbers are those of Keras's JAX backend:
categorical probabilities are divided by their sum, all are clipped to [epsilon, 1 - epsilon]. A loss is then
at most -log(1e-7) = 16.118, with gradient 0 beyond the clip. `from_logits=True` has neither limit.
"""

from __future__ import annotations

import warnings
from typing import Any

from graphcore import config, ops
from graphcore.losses.loss import LossFunctionWrapper, NamedLoss, squeeze_or_expand_to_same_rank


def _checked_axis(axis: Any) -> int:
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ValueError(
            f"Expected `axis` to be an integer. Received: axis={axis!r} of type {type(axis).__name__}."
        )
    return axis


def _warn_about_one_class(loss: str, y_pred: Any) -> None:
    if y_pred.shape and y_pred.shape[-1] == 1:
        warnings.warn(
            f"{loss}: expected y_pred of shape (batch_size, num_classes) with num_classes > 1. Received: "
            f"y_pred.shape={tuple(y_pred.shape)}. Use 'binary_crossentropy' for two classes and one output.",
            SyntaxWarning,
            stacklevel=3,
        )


def _smooth_categories(y_true: Any, label_smoothing: float) -> Any:
    if not label_smoothing:
        return y_true
    return y_true * (1.0 - label_smoothing) + label_smoothing / y_true.shape[-1]


def _smooth_binary(y_true: Any, label_smoothing: float) -> Any:
    if not label_smoothing:
        return y_true
    return y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """`-sum(y_true·log(p))` over the classes.

    Args:
        y_true: one-hot or soft labels, shape (batch, ..., classes).
        y_pred: probabilities, or logits with `from_logits`; the same shape.
        from_logits: whether `y_pred` are logits.
        label_smoothing: s in `y_true·(1 - s) + s/classes`.
        axis: axis of the classes.

    Returns:
        One value a sample, shape (batch, ...).
    """
    axis = _checked_axis(axis)
    y_pred = ops.convert_to_tensor(y_pred)
    _warn_about_one_class("categorical_crossentropy", y_pred)
    y_true = _smooth_categories(ops.cast(y_true, y_pred.dtype), label_smoothing)
    return ops.categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """`-sum(alpha·(1 - p)^gamma·y_true·log(p))` over the classes (Lin et al., 2018).

    Arguments as for `categorical_crossentropy`; `alpha` weighs the classes (a number or one a class), `gamma`
    lowers the weight of easy samples.
    """
    axis = _checked_axis(axis)
    y_pred = ops.convert_to_tensor(y_pred)
    _warn_about_one_class("categorical_focal_crossentropy", y_pred)
    y_true = _smooth_categories(ops.cast(y_true, y_pred.dtype), label_smoothing)
    if from_logits:
        y_pred = ops.softmax(y_pred, axis=axis)
    p = y_pred / ops.sum(y_pred, axis=axis, keepdims=True)
    p = ops.clip(p, config.epsilon(), 1.0 - config.epsilon())
    weight = ops.power(1.0 - p, gamma) * alpha
    return ops.sum(weight * (-y_true * ops.log(p)), axis=axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """`-log(p[y_true])`.

    Args:
        y_true: class numbers, shape (batch, ...) or (batch, ..., 1).
        y_pred: probabilities, or logits with `from_logits`, shape (batch, ..., classes).
        from_logits: whether `y_pred` are logits.
        ignore_class: a class number whose samples have loss 0.
        axis: axis of the classes.

    Returns:
        One value a sample, shape (batch, ...).
    """
    return _masked_sparse_crossentropy(y_true, y_pred, from_logits, ignore_class, axis)[0]


def _masked_sparse_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool, ignore_class: int | None, axis: int
) -> tuple[Any, Any]:
    """Values, and a mask that is False at the ignored class (None where no class is ignored)."""
    axis = _checked_axis(axis)
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, "int32")
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[axis] == 1:
        y_true = ops.squeeze(y_true, axis=axis)
    if ignore_class is None:
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis), None
    valid = ops.not_equal(y_true, ignore_class)
    y_true = ops.where(valid, y_true, 0)
    y_pred = ops.where(ops.expand_dims(valid, axis), y_pred, 0.0)
    values = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)
    return ops.where(valid, values, 0.0), valid


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """`-mean(y_true·log(p) + (1 - y_true)·log(1 - p))` over `axis`.

    Args:
        y_true: labels in [0, 1].
        y_pred: probabilities, or logits with `from_logits`; the same shape.
        from_logits: whether `y_pred` are logits.
        label_smoothing: s in `y_true·(1 - s) + s/2`.
        axis: axis of the mean.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = _smooth_binary(ops.cast(y_true, y_pred.dtype), label_smoothing)
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits), axis=axis)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Binary crossentropy times `(1 - p_t)^gamma`, p_t being the probability of the label (Lin et al., 2018).

    Arguments as for `binary_crossentropy`; with `apply_class_balancing` label 1 weighs `alpha`, label 0
    `1 - alpha`.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = _smooth_binary(ops.cast(y_true, y_pred.dtype), label_smoothing)
    if from_logits:
        y_pred = ops.sigmoid(y_pred)
    values = ops.binary_crossentropy(y_true, y_pred, from_logits=False)
    probability = y_true * y_pred + (1.0 - y_true) * (1.0 - y_pred)
    values = ops.power(1.0 - probability, gamma) * values
    if apply_class_balancing:
        values = (y_true * alpha + (1.0 - y_true) * (1.0 - alpha)) * values
    return ops.mean(values, axis=axis)


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """`(1 - p[y_true]^q) / q`, between crossentropy (q to 0) and absolute error (q = 1).

    Zhang and Sabuncu, "Generalized cross entropy loss" (2018).

    `y_true` are class numbers, shape (batch, ...); `y_pred` probabilities, shape (batch, ..., classes).
    """
    y_pred = ops.convert_to_tensor(y_pred)
    chosen = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
    return (1.0 - ops.power(ops.sum(y_pred * chosen, axis=-1), q)) / q


class BinaryCrossentropy(NamedLoss):
    """Crossentropy of labels 0 and 1. See `binary_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        kwargs = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(binary_crossentropy, reduction, name, dtype, **kwargs)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


class BinaryFocalCrossentropy(NamedLoss):
    """Binary crossentropy that weighs easy samples less. See `binary_focal_crossentropy`."""

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        kwargs = {
            "from_logits": from_logits,
            "label_smoothing": label_smoothing,
            "axis": axis,
            "apply_class_balancing": apply_class_balancing,
            "alpha": alpha,
            "gamma": gamma,
        }
        super().__init__(binary_focal_crossentropy, reduction, name, dtype, **kwargs)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis
        self.apply_class_balancing = apply_class_balancing
        self.alpha = alpha
        self.gamma = gamma


class CategoricalCrossentropy(NamedLoss):
    """Crossentropy of one-hot labels. See `categorical_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        kwargs = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(categorical_crossentropy, reduction, name, dtype, **kwargs)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


class CategoricalFocalCrossentropy(NamedLoss):
    """Categorical crossentropy that weighs easy samples less. See `categorical_focal_crossentropy`."""

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        kwargs = {
            "from_logits": from_logits,
            "label_smoothing": label_smoothing,
            "axis": axis,
            "alpha": alpha,
            "gamma": gamma,
        }
        super().__init__(categorical_focal_crossentropy, reduction, name, dtype, **kwargs)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis
        self.alpha = alpha
        self.gamma = gamma


class SparseCategoricalCrossentropy(NamedLoss):
    """Crossentropy of class numbers. See `sparse_categorical_crossentropy`.

    Samples of `ignore_class` count as masked: the mean is over the others.
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        kwargs = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(sparse_categorical_crossentropy, reduction, name, dtype, **kwargs)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis

    def call_with_mask(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Loss values, and a mask over them (None: all count)."""
        y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
        return _masked_sparse_crossentropy(y_true, y_pred, self.from_logits, self.ignore_class, self.axis)


class CategoricalGeneralizedCrossEntropy(LossFunctionWrapper):
    """Crossentropy that is robust to wrong labels. See `categorical_generalized_cross_entropy`.

    Raises:
        ValueError: `q` is not between 0 and 1.
    """

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ) -> None:
        if not 0 < q < 1:
            raise ValueError(f"Expected `q` to lie between 0 and 1. Received: q={q}")
        super().__init__(categorical_generalized_cross_entropy, reduction, name, dtype, q=q)
        self.q = q

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"name": self.name, "reduction": self.reduction, "q": self.q}
