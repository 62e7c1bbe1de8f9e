"""Circle loss for embeddings: Sun et al., "Circle loss" (2020)."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.losses.loss import NamedLoss


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """Pulls embeddings of one label together and pushes those of different labels apart.

    Args:
        y_true: labels, integers of shape (batch,).
        y_pred: L2-normalised embeddings, shape (batch, dimensions).
        ref_labels: labels to compare with; `y_true` by default.
        ref_embeddings: embeddings to compare with; `y_pred` by default.
        remove_diagonal: leave out each sample's comparison with itself.
        gamma: scale.
        margin: relaxation of the boundary.

    Returns:
        One value a sample, shape (batch,).
    """
    y_pred = ops.convert_to_tensor(y_pred)
    labels = ops.reshape(ops.cast(y_true, "int32"), (-1, 1))
    others = labels if ref_labels is None else ops.reshape(ops.cast(ref_labels, "int32"), (-1, 1))
    references = y_pred if ref_embeddings is None else ops.cast(ref_embeddings, y_pred.dtype)
    distances = ops.maximum(1.0 - ops.matmul(y_pred, ops.transpose(references)), 0.0)
    same = ops.equal(labels, ops.transpose(others))
    positive, negative = same, ops.logical_not(same)
    if remove_diagonal:
        rows = ops.cumsum(ops.ones_like(labels), axis=0)
        columns = ops.transpose(ops.cumsum(ops.ones_like(others), axis=0))
        positive = ops.logical_and(positive, ops.not_equal(rows, columns))
    positive_weights = ops.maximum(margin + distances, 0.0)
    negative_weights = ops.maximum(1.0 + margin - distances, 0.0)
    attraction = -gamma * positive_weights * (margin - distances)
    repulsion = gamma * negative_weights * (1.0 - margin - distances)
    positive_part = ops.logsumexp(ops.where(positive, attraction, float("-inf")), axis=1)
    negative_part = ops.logsumexp(ops.where(negative, repulsion, float("-inf")), axis=1)
    return ops.softplus(positive_part + negative_part)


class Circle(NamedLoss):
    """Circle loss of labels and embeddings; samples whose loss is 0 do not count in the mean. See
    `circle`."""

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "circle",
        dtype: Any = None,
    ) -> None:
        kwargs = {"gamma": gamma, "margin": margin, "remove_diagonal": remove_diagonal}
        super().__init__(circle, reduction, name, dtype, **kwargs)
        self.gamma = gamma
        self.margin = margin
        self.remove_diagonal = remove_diagonal

    def call_with_mask(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Loss values, and a mask over them (None: all count)."""
        values = self.call(y_true, y_pred)
        return values, ops.greater(values, 0)
