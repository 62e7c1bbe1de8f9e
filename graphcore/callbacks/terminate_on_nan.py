"""Stop training when the loss is no longer a finite number."""

from __future__ import annotations

import math

from graphcore.callbacks.callback import Callback, Logs


class TerminateOnNaN(Callback):
    """Looks at the running loss after every batch; stops `fit` at NaN or infinity.

    Args:
        raise_error: raise instead of stopping quietly; then no `on_train_end` hook runs.

    Raises:
        RuntimeError: in training, with `raise_error=True`.
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Check the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"The loss is {loss} at batch {batch}. "
                "Lower the learning rate, or look for NaN and infinity in the data."
            )
        print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
