"""The base class of callbacks: hooks that training calls, which do nothing unless overridden."""

from __future__ import annotations

from typing import Any

Logs = dict[str, Any]


class Callback:
    """What happens during `fit`, `evaluate` and `predict` besides the computation itself.

    Override any of the hooks. `batch` counts from 0 within an epoch, `epoch` from 0; `logs` maps names of
    metrics to Python floats. A callback may read and edit the model: the next step uses the new weights.

    Attributes:
        params: `{"verbose", "epochs", "steps"}` of the running call; `steps` is None if not known.
        model: the model being trained.
    """

    # On the class too, so that a subclass that forgets super().__init__() still works.
    params: dict[str, Any] | None = None
    _model: Any = None

    def __init__(self) -> None:
        self.params = None
        self._model = None

    @property
    def model(self) -> Any:
        """The model being trained, evaluated or used for prediction."""
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        """Receive the parameters of the running call."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Receive the model."""
        self._model = model

    def wants_batch_end(self, batch: int) -> bool:
        """Whether the `on_..._batch_end` hook must be called for this batch.

        Making the logs of a batch costs a little time; a callback that only samples them may decline.
        """
        return True

    def needs_every_batch(self) -> bool:
        """Whether the hooks of batches, where they are overridden, must be called for every batch.

        Otherwise many batches may be run in one go, and the hooks be called for the last of them only, unless
        `compile(steps_per_execution=...)` says how many.
        """
        return True

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch of `fit` starts."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch of `fit` and its validation are done; `logs` has both (`val_...`)."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a training batch (before every k-th with `steps_per_execution=k`)."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a training batch; `logs` are running values since the epoch began."""
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of `evaluate` or of validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of `evaluate` or of validation."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of `predict`; `logs["outputs"]` are the predictions of the batch."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once when `fit` starts."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once when `fit` ends, also when a callback stopped it."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called when `evaluate` or validation starts."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called when `evaluate` or validation ends."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called when `predict` starts."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called when `predict` ends."""
