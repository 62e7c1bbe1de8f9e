"""The `loss` and `loss_weights` of `compile()`: one loss for each output, and their weighted sum."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from graphcore import tree
from graphcore.losses import Loss
from graphcore.losses import get as lookup_loss
from graphcore.metrics import Mean
from graphcore.metrics.resolution import check_names, resolve_loss
from graphcore.training.labels import takes_class_numbers
from graphcore.training.outputs import Outputs, align_targets, align_weights


@dataclasses.dataclass(frozen=True)
class OutputLoss:
    """The loss of one output.

    Attributes:
        index: number of the output in flat order.
        loss: the loss object.
        weight: factor in the total; None is 1.
        classes: extent of the output's last axis; None if it is not fixed.
        tracker: mean of the unweighted loss, where several are reported.
    """

    index: int
    loss: Loss
    weight: float | None
    classes: int | None
    tracker: Mean | None = None


class CompileLoss:
    """Computes the total loss of a model.

    Args:
        loss: a name, function or `Loss` for all outputs, or a list or dict with one for each (None for none).
        loss_weights: factors, likewise: a float, a list or a dict.
        output_names: names of the outputs of a Functional model.

    Raises:
        ValueError: if `loss_weights` is nothing of the kind.
    """

    name = "compile_loss"

    def __init__(self, loss: Any, loss_weights: Any = None, output_names: Sequence[str] | None = None) -> None:
        if loss_weights is not None and not isinstance(loss_weights, (list, tuple, dict, float, int)):
            raise ValueError(
                "`loss_weights` must be a float for one output, or a list or dict with one for each output. "
                f"Received: loss_weights={loss_weights!r} of type {type(loss_weights).__name__}"
            )
        for weight in tree.flatten(loss_weights):
            if weight is not None and (isinstance(weight, str) or not isinstance(weight, (float, int))):
                raise ValueError(
                    f"`loss_weights` must hold numbers. Received: loss_weights={loss_weights!r}. It is the third "
                    "argument of compile(); name the others, e.g. metrics=['accuracy']."
                )
        check_names(loss, lookup_loss)
        self._user_loss = loss
        self._user_weights = loss_weights
        self._output_names = output_names
        self.output_losses: list[OutputLoss] = []
        self.built = False
        self._outputs: Outputs | None = None

    @property
    def metrics(self) -> list[Mean]:
        """The trackers `<output>_loss`; there are none for a single loss."""
        return [entry.tracker for entry in self.output_losses if entry.tracker is not None]

    def unbuild(self) -> None:
        """Forget the resolved losses; the next call resolves them again."""
        self.output_losses = []
        self.built = False

    def build(self, y_true: Any, y_pred: Any) -> None:
        """Resolve names such as "crossentropy" by the shapes of targets and predictions.

        Raises:
            ValueError: if losses, weights or targets do not fit the outputs.
        """
        outputs = Outputs.of(y_pred, self._output_names)
        identifiers = self._per_output(self._user_loss, outputs, "loss")
        has_loss = [identifier is not None for identifier in identifiers]
        weights = self._weights(outputs, has_loss)
        targets = align_targets(y_true, outputs, has_loss)
        entries: list[OutputLoss] = []
        for index, identifier in enumerate(identifiers):
            if identifier is None:
                continue
            _require_target(targets[index], outputs, index)
            shape = outputs.tensors[index].shape
            loss = resolve_loss(identifier, targets[index].shape, shape)
            entries.append(OutputLoss(index, loss, weights[index], shape[-1] if shape else None))
        if len(entries) > 1:
            names = _unique_names([outputs.names[e.index] if outputs.names else e.loss.name for e in entries])
            entries = [
                dataclasses.replace(entry, tracker=Mean(name=f"{name}_loss"))
                for entry, name in zip(entries, names, strict=True)
            ]
        self.output_losses = entries
        # Kept for its names and structure; the tensors belong to a trace that ends.
        self._outputs = dataclasses.replace(outputs, tensors=(None,) * len(outputs), structure=None)
        self.built = True

    def foreseen(self, y_pred: Any) -> list[Loss | None]:
        """The loss of each output, None where there is none. Names that depend on the targets' shape are taken to mean
        targets shaped like the output."""
        outputs = Outputs.of(y_pred, self._output_names)
        identifiers = self._per_output(self._user_loss, outputs, "loss")
        pairs = zip(identifiers, outputs.tensors, strict=True)
        return [resolve_loss(loss, tensor.shape, tensor.shape) for loss, tensor in pairs]

    def takes_class_numbers(self, y_pred: Any) -> list[bool | None]:
        """For each output whether its loss takes targets that are numbers of classes, rather than shaped like the
        output; None for an output without a loss."""
        return [None if loss is None else takes_class_numbers(loss) for loss in self.foreseen(y_pred)]

    def targets_of(self, entries: Sequence[OutputLoss], y: Any) -> Iterator[tuple[OutputLoss, Any, str]]:
        """The targets in `y` of some of the losses, and how they are called in messages."""
        outputs = self._outputs
        assert outputs is not None
        used = {entry.index for entry in self.output_losses}
        targets = align_targets(y, outputs, [i in used for i in range(len(outputs))])
        for entry in entries:
            yield entry, targets[entry.index], "y" if len(outputs) == 1 else f"y[{_label(outputs, entry.index)}]"

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, *, batch_size: Any = None) -> Any:
        """The weighted sum of the losses, a scalar; None if no output has one.

        Args:
            y_true: targets.
            y_pred: predictions.
            sample_weight: weights for all outputs or for each.
            batch_size: what the trackers weigh a batch with.
        """
        if not self.built:
            self.build(y_true, y_pred)
        outputs = Outputs.of(y_pred, self._output_names)
        used = {entry.index for entry in self.output_losses}
        targets = align_targets(y_true, outputs, [i in used for i in range(len(outputs))])
        weights = align_weights(sample_weight, outputs)
        total = None
        for entry in self.output_losses:
            i = entry.index
            _require_target(targets[i], outputs, i)
            value = _value_of(entry, targets[i], outputs, weights[i])
            _check_scalar(value, entry.loss)
            if entry.tracker is not None:
                entry.tracker.update_state(value, sample_weight=batch_size)
            if entry.weight is not None:
                value = value * entry.weight
            total = value if total is None else total + value
        return total

    def _per_output(self, given: Any, outputs: Outputs, argument: str) -> list[Any]:
        if not tree.is_nested(given):
            return [given] * len(outputs)
        return outputs.flat(given, argument)

    def _weights(self, outputs: Outputs, has_loss: Sequence[bool]) -> list[float | None]:
        given = self._user_weights
        if given is None:
            return [None] * len(outputs)
        if isinstance(given, (float, int)):
            if sum(has_loss) > 1:
                raise ValueError(
                    f"The model has {outputs.describe()}, so `loss_weights` must be a list or dict with one "
                    f"for each. Received: loss_weights={given}"
                )
            return [float(given)] * len(outputs)
        if isinstance(given, dict):
            return outputs.by_name(given, "loss_weights", complete=False)
        return outputs.flat(given, "loss_weights")


def _require_target(target: Any, outputs: Outputs, index: int) -> None:
    if target is None:
        raise ValueError(
            f"Output {_label(outputs, index)} of the model has a loss, but no targets. Received: None in `y`. "
            "Pass its targets, or None as its loss."
        )


def _value_of(entry: OutputLoss, target: Any, outputs: Outputs, weight: Any) -> Any:
    output = outputs.tensors[entry.index]
    try:
        return entry.loss(target, output, sample_weight=weight)
    except ValueError as error:
        given = "" if weight is None else f" and `sample_weight` of shape {weight.shape}"
        label = _label(outputs, entry.index)
        raise ValueError(
            f"The loss '{entry.loss.name}' cannot compare output {label} of shape {output.shape} with its targets "
            f"`y` of shape {target.shape}{given}: {error} Fix: give `y` the shape that the loss expects for this "
            "output, or change the last layer's size."
        ) from error


def _check_scalar(value: Any, loss: Loss) -> None:
    if len(value.shape) == 0:
        return
    raise ValueError(
        f"The loss '{loss.name}' must reduce a batch to one number. Received: a value of shape {value.shape}."
        " Leave out reduction='none', or return a mean."
    )


def _label(outputs: Outputs, index: int) -> str:
    return f"'{outputs.names[index]}'" if outputs.names else str(index)


def _unique_names(names: Sequence[str]) -> list[str]:
    result: list[str] = []
    for name in names:
        number, unique = 0, name
        while unique in result:
            number += 1
            unique = f"{name}_{number}"
        result.append(unique)
    return result
