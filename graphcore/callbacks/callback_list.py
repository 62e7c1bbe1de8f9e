"""Calls a list of callbacks as if it were one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphcore import tree
from graphcore.callbacks.callback import Callback, Logs
from graphcore.callbacks.history import History
from graphcore.callbacks.progbar_logger import ProgbarLogger

LogSource = Logs | Callable[[], Logs] | None

# A hook counts as overridden if any of these differs from the base class.
_ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class CallbackList(Callback):
    """Callbacks in the order given, then a History and a progress bar if asked for and not among them.

    Args:
        callbacks: a Callback or nested lists of them.
        add_history: append a `History`.
        add_progbar: append a `ProgbarLogger`.
        model: the model they are used with.
        **params: what `Callback.set_params` receives.
    """

    def __init__(
        self,
        callbacks: object = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        super().__init__()
        self.callbacks = list(_flatten(callbacks))
        if add_history and not any(isinstance(callback, History) for callback in self.callbacks):
            self.callbacks.append(History())
        if add_progbar and not any(isinstance(callback, ProgbarLogger) for callback in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        self._listeners: dict[str, list[Callback]] = {}
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    @property
    def history(self) -> History | None:
        """The last `History` in the list."""
        found = [callback for callback in self.callbacks if isinstance(callback, History)]
        return found[-1] if found else None

    def append(self, callback: Callback) -> None:
        """Add one more callback."""
        self.callbacks.append(callback)
        self._listeners.clear()

    def set_params(self, params: dict[str, Any]) -> None:
        """Pass the parameters on."""
        super().set_params(params)
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Pass the model on; it keeps the history."""
        super().set_model(model)
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Call every callback's hook."""
        self._call("on_epoch_begin", epoch, pythonify(logs))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Call every callback's hook; they share one dictionary, so that earlier ones may add to it."""
        self._call("on_epoch_end", epoch, pythonify(logs))

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's hook."""
        self._call("on_batch_begin", batch, pythonify(logs))

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's hook."""
        self._call("on_batch_end", batch, pythonify(logs))

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call the hooks that are overridden."""
        self._call("on_train_batch_begin", batch, pythonify(logs))

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call the hooks that are overridden."""
        self._call("on_test_batch_begin", batch, pythonify(logs))

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call the hooks that are overridden."""
        self._call("on_predict_batch_begin", batch, pythonify(logs))

    def on_train_batch_end(self, batch: int, logs: LogSource = None) -> None:
        """Call the hooks that are overridden and wanted; `logs` may be a function that makes them."""
        self._batch_end("on_train_batch_end", batch, logs)

    def on_test_batch_end(self, batch: int, logs: LogSource = None) -> None:
        """Call the hooks that are overridden and wanted; `logs` may be a function that makes them."""
        self._batch_end("on_test_batch_end", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: LogSource = None) -> None:
        """Call the hooks that are overridden and wanted; `logs` may be a function that makes them."""
        self._batch_end("on_predict_batch_end", batch, logs)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Call every callback's hook."""
        self._call("on_train_begin", pythonify(logs))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Call every callback's hook."""
        self._call("on_train_end", pythonify(logs))

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Call every callback's hook."""
        self._call("on_test_begin", pythonify(logs))

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Call every callback's hook."""
        self._call("on_test_end", pythonify(logs))

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Call every callback's hook."""
        self._call("on_predict_begin", pythonify(logs))

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Call every callback's hook."""
        self._call("on_predict_end", pythonify(logs))

    def needs_every_batch(self, kind: str | None = None) -> bool:
        """Whether a callback must hear of every batch of this kind ("train", "test" or "predict"; None for any)."""
        kinds = ("train", "test", "predict") if kind is None else (kind,)
        hooks = [f"on_{kind}_batch_{moment}" for kind in kinds for moment in ("begin", "end")]
        return any(callback.needs_every_batch() for hook in hooks for callback in self._listening(hook))

    def _listening(self, hook: str) -> list[Callback]:
        if hook not in self._listeners:
            self._listeners[hook] = [callback for callback in self.callbacks if _overrides(callback, hook)]
        return self._listeners[hook]

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self._listening(hook):
            getattr(callback, hook)(*arguments)

    def _batch_end(self, hook: str, batch: int, logs: LogSource) -> None:
        made: Logs | None = None
        for callback in self._listening(hook):
            if not callback.wants_batch_end(batch):
                continue
            if made is None:
                made = pythonify(logs() if callable(logs) else logs)
            getattr(callback, hook)(batch, made)


def pythonify(logs: Logs | None) -> Logs:
    """The logs sorted by name, nested dictionaries merged in, scalars as Python floats."""
    result: Logs = {}
    for name, value in sorted((logs or {}).items()):
        if isinstance(value, dict):
            result.update(pythonify(value))
            continue
        # The predictions of several outputs are a structure of arrays, which may be of different shapes.
        if not tree.is_nested(value) and np.ndim(value) == 0:
            with contextlib.suppress(TypeError, ValueError):
                value = float(value)
        result[name] = value
    return result


def _overrides(callback: Callback, hook: str) -> bool:
    for name in filter(None, (hook, _ALIASES.get(hook))):
        # A hook may also be an attribute of the instance, as LambdaCallback sets it.
        function = getattr(getattr(callback, name), "__func__", None)
        if function is not getattr(Callback, name):
            return True
    return False


def _flatten(callbacks: object) -> Iterable[Callback]:
    if callbacks is None:
        return
    if isinstance(callbacks, Callback):
        yield callbacks
        return
    if isinstance(callbacks, (list, tuple)):
        for callback in callbacks:
            yield from _flatten(callback)
        return
    raise ValueError(
        "`callbacks` must be a Callback or a list of them. "
        f"Received: {callbacks!r} of type {type(callbacks).__name__}. "
        "If it is a class, call it: EarlyStopping(), not EarlyStopping."
    )
