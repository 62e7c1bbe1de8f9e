"""Sums and means over batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from graphcore import losses, ops
from graphcore.identifiers import find_function, serialize_function
from graphcore.losses.loss import apply_mask, get_mask, squeeze_or_expand_to_same_rank
from graphcore.metrics.metric import Metric


def reduce_to_samplewise_values(
    values: Any, sample_weight: Any, reduce_fn: Callable[..., Any], dtype: str
) -> tuple[Any, Any]:
    """Weighted values, one a sample, and the weights, one a sample (None without weights).

    Axes that the weights lack are reduced with `reduce_fn` before weighing, the others after.
    """
    values = ops.cast(values, dtype)
    if sample_weight is not None:
        values, sample_weight = squeeze_or_expand_to_same_rank(values, ops.cast(sample_weight, dtype))
        weight_rank, values_rank = len(sample_weight.shape), len(values.shape)
        if values_rank > weight_rank:
            values = reduce_fn(values, axis=tuple(range(weight_rank, values_rank)))
        sample_weight = ops.broadcast_to(sample_weight, ops.shape(values))
        values = values * sample_weight
        if weight_rank > 1:
            sample_weight = reduce_fn(sample_weight, axis=tuple(range(1, weight_rank)))
    if len(values.shape) > 1:
        values = reduce_fn(values, axis=tuple(range(1, len(values.shape))))
    return values, sample_weight


class Sum(Metric):
    """The (weighted) sum of all values."""

    def __init__(self, name: str = "sum", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        values, _ = reduce_to_samplewise_values(values, sample_weight, ops.sum, self.dtype)
        self.total.assign_add(ops.sum(values))

    def result(self) -> Any:
        """The value over all batches since the last reset."""
        return ops.cast(self.total, self.dtype)


class Mean(Metric):
    """The mean of all values: the sum of values times weights over the sum of weights; 0 before any value.

    Values of more than one axis are averaged over all but the first.
    """

    def __init__(self, name: str = "mean", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), name="total")
        self.count = self.add_variable((), name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        values, sample_weight = reduce_to_samplewise_values(values, sample_weight, ops.mean, self.dtype)
        self.total.assign_add(ops.sum(values))
        if sample_weight is not None:
            count: Any = ops.sum(sample_weight)
        else:
            count = ops.shape(values)[0] if len(values.shape) else 1
        self.count.assign_add(ops.cast(count, self.dtype))

    def result(self) -> Any:
        """The value over all batches since the last reset."""
        return ops.divide_no_nan(self.total, self.count)


class MeanMetricWrapper(Mean):
    """The mean of what a function `fn(y_true, y_pred, **kwargs)` returns for each sample.

    A mask that a layer attached to the predictions leaves masked elements out.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(name=name or str(getattr(fn, "__name__", "mean_metric_wrapper")), dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs
        if fn in losses._registry or type(fn) in losses._registry:
            self._direction = "down"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch."""
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        weight = apply_mask(sample_weight, get_mask(y_pred), self.dtype, "sum")
        super().update_state(values, sample_weight=weight)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {**super().get_config(), "fn": serialize_function(self._fn), **self._fn_kwargs}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An object with the constructor arguments `config`."""
        if "fn" in config:
            config = {**config, "fn": find_function(config["fn"])}
        return cls(**config)


class NamedMeanMetric(MeanMetricWrapper):
    """A built-in mean: its class says which function, so its configuration need not."""

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"name": self.name, "dtype": self.dtype, **self._fn_kwargs}
