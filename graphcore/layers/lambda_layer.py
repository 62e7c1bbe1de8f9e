"""A function as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from graphcore.identifiers import find_function, serialize_function
from graphcore.layers.layer import Layer

_UNSAVED = (
    "The Lambda layer '{name}' has no configuration: its function {function} is neither built in nor registered, "
    "and code is never written into files. Fix: define the function with `def` and register it with "
    "`@keras.saving.register_keras_serializable()`, or write a Layer subclass."
)


class Lambda(Layer):
    """Applies a function of tensors, which is traced like a layer's `call`.

    Args:
        function: function of the inputs; it may also take `mask` and `training`. It computes with `keras.ops` and
            operators, and must not create variables.
        output_shape: accepted for Keras's sake; shapes follow from the trace.
        mask: mask of the output, or a function (inputs, mask) -> mask; none by default.
        arguments: further keyword arguments of the function.
        kwargs: see `Layer`.

    Only registered functions can be saved (by name); files hold no code.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(f"Lambda: expected a function. Received: function={function!r}")
        self.function = function
        self.mask = mask
        self.arguments = dict(arguments or {})
        self.supports_masking = mask is not None
        parameters = inspect.signature(function).parameters
        self._takes = [name for name in ("mask", "training") if name in parameters]

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        """Compute the output."""
        extra = {"mask": mask, "training": training}
        return self.function(inputs, **self.arguments, **{name: extra[name] for name in self._takes})

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """What `mask` says."""
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them.

        Raises:
            TypeError: the function (or the mask's) is not registered.
        """
        config: dict[str, Any] = {**super().get_config(), "function": self._saved(self.function)}
        if self.mask is not None:
            config["mask"] = self._saved(self.mask)
        if self.arguments:
            config["arguments"] = self.arguments
        return config

    def _saved(self, function: Any) -> dict[str, Any]:
        message = _UNSAVED.format(name=self.name, function=getattr(function, "__name__", repr(function)))
        if not callable(function):
            raise TypeError(message)
        saved = serialize_function(function)
        try:
            found = find_function(saved)
        except ValueError:
            raise TypeError(message) from None
        if found is not function:
            raise TypeError(message)
        return saved

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer that `get_config` described.

        Raises:
            ValueError: the function is not registered in this process.
        """
        arguments = dict(config)
        for key in ("function", "mask"):
            if key in config:
                arguments[key] = find_function(config[key])
        return cls(**arguments)
