"""The `metrics` and `weighted_metrics` of `compile()`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from graphcore import tree
from graphcore.metrics import Metric
from graphcore.metrics import get as lookup_metric
from graphcore.metrics.resolution import check_names, resolve_metric
from graphcore.training.outputs import Outputs, align_targets, align_weights
from graphcore.variable import Variable


@dataclasses.dataclass(frozen=True)
class OutputMetric:
    """A metric of one output.

    Attributes:
        index: number of the output in flat order.
        output_name: prefix of its name in logs, where there are several outputs.
        metric: the metric object.
        weighted: whether it sees sample weights.
    """

    index: int
    output_name: str | None
    metric: Metric
    weighted: bool


class CompileMetrics:
    """The metrics given to `compile()`, as one metric whose result is a dict.

    Args:
        metrics: a list for one output; for several a list or dict with a metric or list for each.
        weighted_metrics: likewise; these see sample and class weights.
        output_names: names of the outputs of a Functional model.

    Raises:
        ValueError: if either is no list, tuple or dict.
    """

    name = "compile_metrics"

    def __init__(
        self, metrics: Any = None, weighted_metrics: Any = None, output_names: Sequence[str] | None = None
    ) -> None:
        for argument, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if value and not isinstance(value, (list, tuple, dict)):
                raise ValueError(
                    f"`{argument}` must be a list, tuple or dict. "
                    f"Received: {argument}={value!r} of type {type(value).__name__}. "
                    f"Write {argument}=[{value!r}]."
                )
            check_names(value, lookup_metric)
        self._user_metrics = metrics
        self._user_weighted = weighted_metrics
        self._output_names = output_names
        self.entries: list[OutputMetric] = []
        self.built = False

    @property
    def metrics(self) -> list[Metric]:
        """The metrics one by one: plain ones, then weighted ones."""
        return [entry.metric for entry in self.entries]

    @property
    def variables(self) -> list[Variable]:
        """The state of all metrics."""
        return [variable for metric in self.metrics for variable in metric.variables]

    def unbuild(self) -> None:
        """Forget the resolved metrics; the next call resolves them again."""
        self.entries = []
        self.built = False

    def build(self, y_true: Any, y_pred: Any) -> None:
        """Resolve names such as "accuracy" by the shapes of targets and predictions.

        Raises:
            ValueError: if the metrics do not fit the outputs.
        """
        outputs = Outputs.of(y_pred, self._output_names)
        targets = align_targets(y_true, outputs, [True] * len(outputs))
        self.entries = [
            *self._entries(self._user_metrics, outputs, targets, "metrics"),
            *self._entries(self._user_weighted, outputs, targets, "weighted_metrics"),
        ]
        self.built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        if not self.built:
            self.build(y_true, y_pred)
        outputs = Outputs.of(y_pred, self._output_names)
        targets = align_targets(y_true, outputs, [True] * len(outputs))
        weights = align_weights(sample_weight, outputs)
        for entry in self.entries:
            arguments = (targets[entry.index], outputs.tensors[entry.index])
            if entry.weighted:
                entry.metric.update_state(*arguments, sample_weight=weights[entry.index])
            else:
                entry.metric.update_state(*arguments)

    def reset_state(self) -> None:
        """Forget all batches."""
        for metric in self.metrics:
            metric.reset_state()

    def result(self) -> dict[str, Any]:
        """Results by the names under which they are logged.

        Clashing names are numbered; a weighted metric named like a plain one becomes `weighted_<name>`.
        """
        results: dict[str, Any] = {}
        clashes: dict[str, int] = {}
        for entry in self.entries:
            name = _prefixed(entry.output_name, entry.metric.name)
            if name in clashes and entry.weighted:
                name = _prefixed(entry.output_name, f"weighted_{entry.metric.name}")
            number = clashes.get(name, 0)
            clashes[name] = number + 1
            results[f"{name}_{number}" if number else name] = entry.metric.result()
        return results

    def _entries(self, given: Any, outputs: Outputs, targets: Sequence[Any], argument: str) -> list[OutputMetric]:
        if not given:
            return []
        weighted = argument == "weighted_metrics"
        entries = []
        per_output = _per_output(given, outputs, argument)
        for index, identifiers in enumerate(per_output):
            name = outputs.names[index] if outputs.names and len(outputs) > 1 else None
            for identifier in identifiers:
                metric = _resolve(identifier, targets[index], outputs.tensors[index], argument)
                entries.append(OutputMetric(index, name, metric, weighted))
        return entries


def _resolve(identifier: Any, y_true: Any, y_pred: Any, argument: str) -> Metric:
    if y_true is None:
        raise ValueError(f"`{argument}` has {identifier!r} for an output whose target in `y` is None.")
    metric = resolve_metric(identifier, y_true.shape, y_pred.shape)
    if metric is None:
        raise ValueError(f"`{argument}` must hold names, functions or Metric objects. Received: None")
    return metric


def _per_output(given: Any, outputs: Outputs, argument: str) -> list[list[Any]]:
    """A list of metrics for each output."""
    if len(outputs) == 1:
        return [tree.flatten(given)]
    if isinstance(given, dict):
        chosen = outputs.by_name(given, argument, complete=False)
    elif len(given) == len(outputs):
        chosen = list(given)
    else:
        raise ValueError(
            f"The model has {outputs.describe()}, so `{argument}` must be a dict from output name to metrics,"
            " or a list with one entry (a metric, a list of metrics or None) for each. "
            f"Received: {argument}={given!r}"
        )
    return [[] if entry is None else tree.flatten(entry) for entry in chosen]


def _prefixed(prefix: str | None, name: str) -> str:
    return f"{prefix}_{name}" if prefix else name
