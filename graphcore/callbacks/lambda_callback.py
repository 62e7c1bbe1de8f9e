"""A callback made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphcore.callbacks.callback import Callback

Hook = Callable[..., Any] | None


class LambdaCallback(Callback):
    """Calls the functions given, each with the arguments of the hook of that name.

    Args:
        on_epoch_begin: function of `(epoch, logs)`; so is `on_epoch_end`.
        on_epoch_end: see above.
        on_train_begin: function of `(logs)`; so is `on_train_end`.
        on_train_end: see above.
        on_train_batch_begin: function of `(batch, logs)`; so is `on_train_batch_end`.
        on_train_batch_end: see above.
        **kwargs: any other hook of `Callback` by its name.

    Raises:
        ValueError: for a name that is no hook.
    """

    def __init__(
        self,
        on_epoch_begin: Hook = None,
        on_epoch_end: Hook = None,
        on_train_begin: Hook = None,
        on_train_end: Hook = None,
        on_train_batch_begin: Hook = None,
        on_train_batch_end: Hook = None,
        **kwargs: Hook,
    ) -> None:
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, function in hooks.items():
            if not name.startswith("on_") or name not in vars(Callback):
                known = ", ".join(hook for hook in vars(Callback) if hook.startswith("on_"))
                raise ValueError(f"LambdaCallback has no hook {name!r}. Expected one of: {known}")
            if function is not None:
                setattr(self, name, function)
