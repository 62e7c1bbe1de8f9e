"""The base of losses: reduction, weights and masks as Keras 3 defines them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from graphcore import config, ops, tree
from graphcore.identifiers import find_function, serialize_function
from graphcore.naming import auto_name

REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


def standardize_reduction(reduction: str | None) -> str | None:
    """`reduction` itself, if it is one that Keras knows."""
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"Expected `reduction` to be one of {REDUCTIONS}. Received: reduction={reduction!r}. "
            f"The default is 'sum_over_batch_size', the mean over all elements of the loss."
        )
    return reduction


def squeeze_or_expand_to_same_rank(x1: Any, x2: Any, expand_rank_1: bool = True) -> tuple[Any, Any]:
    """Bring two tensors whose ranks differ by a trailing axis of size 1 to the same rank.

    Vectors (n,) beside (n, 1) are expanded (unless `expand_rank_1` is False); otherwise the trailing axis is
    removed. Without this, (n,) against (n, 1) would broadcast to (n, n).
    """
    rank1, rank2 = len(x1.shape), len(x2.shape)
    if rank1 == rank2 + 1 and x1.shape[-1] == 1:
        if rank2 == 1 and expand_rank_1:
            return x1, ops.expand_dims(x2, axis=-1)
        return ops.squeeze(x1, axis=-1), x2
    if rank2 == rank1 + 1 and x2.shape[-1] == 1:
        if rank1 == 1 and expand_rank_1:
            return ops.expand_dims(x1, axis=-1), x2
        return x1, ops.squeeze(x2, axis=-1)
    return x1, x2


def get_mask(tensor: Any) -> Any:
    """The mask that a layer attached to its output, or None."""
    return getattr(tensor, "_keras_mask", None)


def apply_mask(sample_weight: Any, mask: Any, dtype: str, reduction: str | None) -> Any:
    """Weights that carry the mask.

    With a mean reduction the valid elements weigh total/valid, so that the mean over all elements equals the
    mean over the valid ones. Returns None where neither weights nor mask are given.
    """
    if mask is None:
        return sample_weight
    weight = ops.cast(mask, dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        weight = ops.divide_no_nan(weight, ops.mean(weight))
    if sample_weight is None:
        return weight
    weight, sample_weight = squeeze_or_expand_to_same_rank(weight, ops.cast(sample_weight, dtype))
    return sample_weight * weight


def reduce_values(
    values: Any, sample_weight: Any = None, reduction: str | None = "sum_over_batch_size"
) -> Any:
    """Reduce weighted loss values to a scalar (or not at all, for `"none"` and None).

    `"sum_over_batch_size"` and `"mean"` divide by the number of elements, never by the weights;
    `"mean_with_sample_weight"` divides by the sum of the weights.
    """
    if reduction in (None, "none") or len(values.shape) == 0:
        return values
    if reduction == "sum":
        return ops.sum(values)
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        return ops.divide_no_nan(ops.sum(values), ops.sum(sample_weight))
    return ops.mean(values)


def reduce_weighted_values(
    values: Any,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: str | None = "sum_over_batch_size",
    dtype: str | None = None,
) -> Any:
    """Weigh, mask and reduce the values of a loss.

    Args:
        values: losses, shape (batch, ...).
        sample_weight: weights that broadcast to `values` (a trailing axis of size 1 may be missing or extra).
        mask: booleans, True where an element counts.
        reduction: see `reduce_values`.
        dtype: dtype of the computation (None: that of `values`).
    """
    reduction = standardize_reduction(reduction)
    values = values if dtype is None else ops.cast(values, dtype)
    weight = apply_mask(sample_weight, mask, values.dtype, reduction)
    if weight is None:
        return reduce_values(values, None, reduction)
    values, weight = squeeze_or_expand_to_same_rank(values, ops.cast(weight, values.dtype))
    return reduce_values(_weigh(values, weight), weight, reduction)


def _weigh(values: Any, weight: Any) -> Any:
    """Values times weights; axes that the weights lack are the last ones (Keras would broadcast the
    first). A scalar, which a loss may make of the whole batch, is weighed by each of the weights."""
    values_rank, weight_rank = len(values.shape), len(weight.shape)
    if weight_rank > values_rank > 0:
        raise ValueError(
            f"Expected `sample_weight` to have at most the rank of the loss values, shape "
            f"{tuple(values.shape)}. Received: sample_weight of shape {tuple(weight.shape)}. Pass one weight "
            f"a sample, shape (batch,), or one an element of the loss."
        )
    if 0 < weight_rank < values_rank:
        weight = ops.expand_dims(weight, tuple(range(weight_rank, values_rank)))
    return values * weight


class Loss:
    """Maps labels and predictions to a loss.

    Subclasses implement `call(y_true, y_pred)`, which returns one value a sample (or finer).

    Args:
        name: name; the snake-case class name by default.
        reduction: `"sum_over_batch_size"` (the mean over the elements of the loss), `"mean"` (the same),
            `"sum"`, `"mean_with_sample_weight"`, `"none"` or None.
        dtype: dtype of the computation; labels and predictions are cast to it. `keras.config.floatx()` by
            default.

    Raises:
        ValueError: an unknown reduction.
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        self.name = name or auto_name(type(self).__name__)
        self.reduction = standardize_reduction(reduction)
        self._dtype = str(getattr(dtype, "compute_dtype", dtype) or config.floatx())

    @property
    def dtype(self) -> str:
        """The dtype in which the loss is computed."""
        return self._dtype

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The reduced loss of a batch.

        Args:
            y_true: labels.
            y_pred: predictions; a mask that a layer attached to them is respected.
            sample_weight: weights, shape (batch,) or the shape of the loss values.
        """
        mask = get_mask(y_pred)
        y_pred = tree.map_structure(lambda x: ops.cast(x, self.dtype), y_pred)
        y_true = tree.map_structure(lambda x: ops.cast(x, self.dtype), y_true)
        values, own_mask = self.call_with_mask(y_true, y_pred)
        if mask is not None and own_mask is not None:
            mask = ops.logical_and(mask, own_mask)
        elif own_mask is not None:
            mask = own_mask
        return reduce_weighted_values(values, sample_weight, mask, self.reduction, self.dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss values, one a sample (or finer)."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement `call(self, y_true, y_pred)` and return one value a "
            f"sample."
        )

    def call_with_mask(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Loss values, and a mask over them (None: all count)."""
        return self.call(y_true, y_pred), None

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A loss with the constructor arguments `config`."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name} reduction={self.reduction}>"


class LossFunctionWrapper(Loss):
    """The loss that a function `fn(y_true, y_pred, **kwargs)` computes.

    Labels and predictions are brought to the same rank first (see `squeeze_or_expand_to_same_rank`).
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss values, one a sample (or finer)."""
        if isinstance(y_pred, (dict, list, tuple)):
            return self.fn(y_true, y_pred, **self._fn_kwargs)
        y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "fn": serialize_function(self.fn), **self._fn_kwargs}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An object with the constructor arguments `config`."""
        if "fn" in config:
            config = {**config, "fn": find_function(config["fn"])}
        return cls(**config)


class NamedLoss(LossFunctionWrapper):
    """A built-in loss: its class says which function, so its configuration need not."""

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**Loss.get_config(self), **self._fn_kwargs}
