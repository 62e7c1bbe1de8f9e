"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

from graphcore import ops
from graphcore.losses.loss import Loss, LossFunctionWrapper


def ctc(y_true: Any, y_pred: Any) -> Any:
    """-log of the probability of all alignments of the labels with the output (Graves et al., 2006).

    Args:
        y_true: class numbers, (batch, labels); 0 is the blank and stands behind shorter targets.
        y_pred: logits, (batch, time, classes); every step counts.

    Returns:
        One value a sample, shape (batch,).

    Raises:
        ValueError: for other ranks.
    """
    if len(y_true.shape) != 2:
        raise ValueError(
            "Targets `y_true` are expected to be a tensor of shape `(batch_size, max_length)` in integer format. "
            f"Received: y_true.shape={tuple(y_true.shape)}"
        )
    if len(y_pred.shape) != 3:
        raise ValueError(
            "Logits `y_pred` are expected to be a tensor of shape `(batch_size, max_length, num_classes)`. "
            f"Received: y_pred.shape={tuple(y_pred.shape)}"
        )
    batch, time = ops.shape(y_pred)[:2]
    steps = ops.ones((batch,), dtype="int32") * time
    labels = ops.cast(ops.sum(ops.cast(ops.not_equal(y_true, 0), "int32"), axis=-1), "int32")
    return ops.ctc_loss(y_true, y_pred, labels, steps, mask_index=0)


class CTC(LossFunctionWrapper):
    """`ctc` as a loss; arguments as those of `Loss`."""

    def __init__(self, reduction: Any = "sum_over_batch_size", name: str | None = "ctc", dtype: Any = None) -> None:
        super().__init__(ctc, reduction=reduction, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return Loss.get_config(self)
