"""The base of metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from graphcore import config, initializers
from graphcore.naming import auto_name
from graphcore.temporary_state import snapshot, temporary_values
from graphcore.variable import Variable


class Metric:
    """A quantity accumulated over batches.

    Subclasses make their state in `__init__` (`add_variable`), implement `update_state`, which adds a batch
    to it, and `result`, which computes the metric from it. Both may be traced into a compiled step, so they
    compute with `keras.ops` and change state with `assign`.

    Args:
        dtype: dtype of the state and of the computation; `keras.config.floatx()` by default.
        name: name; the snake-case class name by default.
    """

    # Whether callbacks should see a larger ("up") or smaller ("down") value as better; None where unknown.
    _direction: str | None = None

    _not_set_up: ClassVar[str] = (
        "{name} has no state yet. Call `super().__init__()` as the first line of its `__init__`."
    )

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        object.__setattr__(self, "_variables", [])
        object.__setattr__(self, "_metrics", [])
        self.name = name or auto_name(type(self).__name__)
        dtype = getattr(dtype, "compute_dtype", dtype)
        self._dtype = {None: config.floatx(), "int": "int32"}.get(dtype, str(dtype))

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Metric):
            self._track(self._stores()[1], value)
        elif isinstance(value, Variable):
            self._track(self._stores()[0], value)
        super().__setattr__(name, value)

    def _stores(self) -> tuple[list[Variable], list[Metric]]:
        try:
            return self.__dict__["_variables"], self.__dict__["_metrics"]
        except KeyError:
            raise RuntimeError(self._not_set_up.format(name=type(self).__name__)) from None

    @staticmethod
    def _track(store: list[Any], value: Any) -> None:
        if not any(value is known for known in store):
            store.append(value)

    @property
    def dtype(self) -> str:
        """Dtype of the state and of the computation."""
        return self._dtype

    @property
    def variables(self) -> list[Variable]:
        """The state, that of metrics held as attributes included."""
        own, metrics = self._stores()
        return [*own, *(variable for metric in metrics for variable in metric.variables)]

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Any:
        """Make one state variable.

        Args:
            shape: its shape.
            initializer: its first value: anything `keras.initializers.get` takes.
            dtype: its dtype; the metric's by default.
            aggregation: accepted for Keras's sake; there is one replica.
            name: its name.
        """
        store = self._stores()[0]
        variable = Variable(
            initializers.get(initializer or "zeros"),
            shape=tuple(shape),
            dtype=dtype or self._dtype,
            trainable=False,
            name=name,
            path=f"{self.name.replace('/', '>')}/{name or 'variable'}",
        )
        self._track(store, variable)
        return variable

    def add_weight(
        self, shape: Sequence[int] = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Any:
        """Make one state variable; the older name of `add_variable`."""
        return self.add_variable(shape=shape, initializer=initializer, dtype=dtype, name=name)

    def reset_state(self) -> None:
        """Forget all batches: every variable becomes 0."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch."""
        raise NotImplementedError(f"{type(self).__name__} must implement `update_state`.")

    def result(self) -> Any:
        """The metric over all batches since the last reset: a scalar, or a dictionary of scalars."""
        raise NotImplementedError(f"{type(self).__name__} must implement `result`.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch and return the metric so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def stateless_update_state(self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """The state after a batch, from the state before it; the metric's own state stays."""
        with temporary_values(self.variables, metric_variables, "metric_variables"):
            self.update_state(*args, **kwargs)
            return [snapshot(variable) for variable in self.variables]

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """The metric that a state stands for."""
        with temporary_values(self.variables, metric_variables, "metric_variables"):
            return self.result()

    def stateless_reset_state(self) -> list[Any]:
        """The state of no batches."""
        return [np.zeros(variable.shape, variable.dtype) for variable in self.variables]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A metric with the constructor arguments `config`."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
