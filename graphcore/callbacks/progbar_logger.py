"""The callback that prints the progress bar."""

from __future__ import annotations

from typing import Any

from graphcore.callbacks.callback import Callback, Logs
from graphcore.training.progress_bar import Progbar


class ProgbarLogger(Callback):
    """Prints progress to standard output; `fit`, `evaluate` and `predict` add it unless `verbose=0`."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.target: int | None = None
        self.verbose = 1
        self.epochs = 1
        self.progbar: Progbar | None = None
        self._inside_fit = False

    def set_params(self, params: dict[str, Any]) -> None:
        """Read `verbose` ("auto" is 1), `epochs` and `steps`."""
        super().set_params(params)
        self.verbose = 1 if params["verbose"] == "auto" else int(params["verbose"])
        self.epochs = params["epochs"]
        self.target = params["steps"]

    def wants_batch_end(self, batch: int) -> bool:
        """Only when the bar would be redrawn."""
        self.seen = batch + 1
        return self._bar().is_due()

    def needs_every_batch(self) -> bool:
        """A bar needs a batch now and then; what a subclass does with batches is not known."""
        return type(self) is not ProgbarLogger

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Note that evaluations from here on are validation, which is silent."""
        self._inside_fit = True

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start a bar; print the epoch's number if there are several."""
        self._start_bar()
        if self.verbose and self.epochs > 1:
            print(f"Epoch {epoch + 1}/{self.epochs}")

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Start a bar unless this is validation."""
        if not self._inside_fit:
            self._start_bar()

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Start a bar."""
        self._start_bar()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Show the batch."""
        self._show(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Show the batch unless this is validation."""
        if not self._inside_fit:
            self._show(batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Show the batch, without its predictions."""
        self._show(batch, None)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Print the final state of the epoch."""
        self._finish(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Print the final state unless this is validation."""
        if not self._inside_fit:
            self._finish(logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Print the final state."""
        self._finish(None)

    def _start_bar(self) -> None:
        self.seen = 0
        # Metrics keep their own running means, so the bar averages none.
        self.progbar = Progbar(self.target, verbose=self.verbose, stateless_metrics=())

    def _bar(self) -> Progbar:
        if self.progbar is None:
            self._start_bar()
        assert self.progbar is not None
        return self.progbar

    def _show(self, batch: int, logs: Logs | None) -> None:
        self.seen = batch + 1
        self._bar().update(self.seen, list((logs or {}).items()), finalize=False)

    def _finish(self, logs: Logs | None) -> None:
        if self.target is None:
            self.target = self.seen
        bar = self._bar()
        bar.target = self.target
        bar.update(self.target, list((logs or {}).items()), finalize=True)
