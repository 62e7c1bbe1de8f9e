"""What one step of training, evaluation or prediction computes: traced, and open to overriding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphcore import ops, tree
from graphcore.training.data.arrays import unpack_x_y_sample_weight
from graphcore.training.gradients import gradients
from graphcore.training.session import Session

if TYPE_CHECKING:
    from graphcore.layers.layer import Layer as _Base
else:
    _Base = object  # `Model` inherits the trainer and Layer


class Steps(_Base):
    """The steps of a model.

    `train_step`, `test_step`, `predict_step`, `compute_loss` and `compute_metrics` may be overridden. They are
    traced, so they compute with `graphcore.ops`; `graphcore.training.gradients.gradients` differentiates.

    Attributes:
        optimizer: set by `compile()`.
    """

    optimizer: Any = None
    _untracked_session: Session | None = None

    @property
    def training_session(self) -> Session:
        """What `compile()` made of its arguments, and the programs traced since."""
        if self._untracked_session is None:
            self._untracked_session = Session()
        return self._untracked_session

    @property
    def metrics(self) -> list[Any]:
        """The mean of the loss, the metrics given to `compile()`, losses of outputs, then the model's own."""
        session = self.training_session
        found: list[Any] = []
        if session.loss_tracker is not None:
            found.append(session.loss_tracker)
        if session.compile_metrics is not None:
            found.append(session.compile_metrics)
        if session.compile_loss is not None:
            found.extend(session.compile_loss.metrics)
        return found + super().metrics

    @property
    def metrics_names(self) -> list[str]:
        """Names of `metrics`; those given to `compile()` count as one, "compile_metrics"."""
        return [metric.name for metric in self.metrics]

    def reset_metrics(self) -> None:
        """Forget the batches that the metrics have seen."""
        for metric in self.training_session.metrics_of(self):
            metric.reset_state()

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of training, traced.

        Args:
            data: tensors of one batch: `x`, `(x, y)` or `(x, y, sample_weight)`.

        Returns:
            Logs: names and scalar tensors.
        """
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
        self._track_loss(loss, x)
        variables = self.training_session.trainable or []
        if variables:
            if self.optimizer is None:
                raise ValueError("Training needs an optimizer, but there is no optimizer: pass one to compile().")
            scaled = self.optimizer.scale_loss(loss)
            self.optimizer.apply(gradients(scaled, variables), variables)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of evaluation, traced; see `train_step`."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x)
        self._track_loss(self.compute_loss(x, y, y_pred, sample_weight, training=False), x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """Predictions of one batch, traced."""
        x, _, _ = unpack_x_y_sample_weight(data)
        return self(x)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The total loss: weighted losses of the outputs, regularizers, and what `add_loss` recorded.

        Raises:
            ValueError: if there is none of these.
        """
        compile_loss = self.training_session.compile_loss
        parts = []
        if compile_loss is not None:
            batch_size = _batch_size(y_pred)
            value = compile_loss(y, y_pred, sample_weight, batch_size=batch_size)
            parts += [] if value is None else [value]
        parts += [ops.sum(ops.cast(loss, "float32")) for loss in self.losses]
        if not parts:
            raise ValueError("There is no loss to compute. Pass `loss` to compile(), or call `add_loss` in a layer.")
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Add a batch to the metrics given to `compile()`; returns the values of all metrics."""
        if self.training_session.compile_metrics is not None:
            self.training_session.compile_metrics.update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """Values of `metrics` by name."""
        results: dict[str, Any] = {}
        for metric in self.metrics:
            value = metric.result()
            results.update(value if isinstance(value, dict) else {metric.name: value})
        return results

    def _track_loss(self, loss: Any, x: Any) -> None:
        tracker = self.training_session.loss_tracker
        if tracker is not None:
            tracker.update_state(loss, sample_weight=_batch_size(x))

    def _reports_own_logs(self, kind: str) -> bool:
        """Whether the logs of a step are what a subclass's method returns, rather than the metrics."""
        methods = (f"{kind}_step", "compute_metrics")
        return any(getattr(type(self), name) is not getattr(Steps, name) for name in methods)


def _batch_size(structure: Any) -> Any:
    """Number of samples in a batch of tensors, as a tensor."""
    first = next(leaf for leaf in tree.flatten(structure) if leaf is not None)
    return ops.shape(first)[0]
