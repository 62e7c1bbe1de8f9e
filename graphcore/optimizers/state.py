"""The state variables of optimizers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphcore import initializers
from graphcore.variable import Variable


class OptimizerState:
    """Holds variables in the order of their making, and writes and reads them."""

    name: str
    built: bool
    _variables: list[Variable]

    def __init__(self) -> None:
        object.__setattr__(self, "_variables", [])

    def __setattr__(self, name: str, value: Any) -> None:
        if "_variables" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__} has no state yet. Call `super().__init__(learning_rate)` as the "
                f"first line of its `__init__`."
            )
        if isinstance(value, Variable):
            self._track(value)
        super().__setattr__(name, value)

    def _track(self, variable: Variable) -> None:
        if not any(variable is known for known in self._variables):
            self._variables.append(variable)

    @property
    def variables(self) -> list[Variable]:
        """The state: `iteration`, `learning_rate` (unless it is a schedule), then the slots."""
        return list(self._variables)

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Any:
        """Make one state variable (`aggregation` and `layout` are accepted for Keras's sake)."""
        variable = Variable(
            initializers.get(initializer),
            shape=tuple(shape),
            dtype=dtype,
            trainable=False,
            autocast=False,
            name=name or "variable",
            path=f"{self.name}/{name or 'variable'}",
        )
        self._track(variable)
        return variable

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Any:
        """Make one slot: a variable of the shape and dtype of another, named after it."""
        own = f"{reference_variable.path.replace('/', '_')}_{name or 'var'}"
        return self.add_variable(reference_variable.shape, initializer, reference_variable.dtype, name=own)

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """Make slots for several variables.

        Args:
            trainable_variables: variables to make them for.
            name: name of a slot, or several names; several slots of one variable follow each other in
                `variables`.
            initializer: first value, or one for each name.

        Returns:
            A list of slots, or one list for each name.
        """
        names = [name] if isinstance(name, str) else list(name)
        several = isinstance(initializer, (list, tuple))
        starts = list(initializer) if several else [initializer] * len(names)
        if len(starts) != len(names):
            raise ValueError(f"Expected one initializer for each name. Received: {names} and {starts}")
        slots: tuple[list[Variable], ...] = tuple([] for _ in names)
        for variable in trainable_variables:
            for slot, own, start in zip(slots, names, starts, strict=True):
                slot.append(self.add_variable_from_reference(variable, own, start))
        return slots[0] if isinstance(name, str) else slots

    def assign(self, variable: Variable, value: Any) -> None:
        """Set a variable."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """Add to a variable."""
        variable.assign_add(value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """Subtract from a variable."""
        variable.assign_sub(value)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all state variables.

        Raises:
            ValueError: the optimizer is not built, or a shape differs.
        """
        if not self.built:
            raise ValueError("Call `optimizer.build(trainable_variables)` before `set_weights`.")
        for variable, weight in zip(self._variables, weights, strict=True):
            if tuple(variable.shape) != tuple(np.shape(weight)):
                raise ValueError(
                    f"Expected a value of shape {variable.shape} for optimizer variable '{variable.path}'. "
                    f"Received: shape={np.shape(weight)}"
                )
            variable.assign(weight)

    def save_own_variables(self, store: Any) -> None:
        """Write the state into a mapping, under "0", "1", ..."""
        for index, variable in enumerate(self.variables):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Read the state from a mapping that `save_own_variables` wrote; warns if the number differs."""
        if len(store.keys()) != len(self.variables):
            warnings.warn(
                f"The state of optimizer '{self.name}' was not loaded: it has {len(self.variables)} "
                f"variables, the saved one {len(store.keys())}. Build it for the saved model's variables "
                f"first.",
                stacklevel=2,
            )
            return
        for index, variable in enumerate(self.variables):
            variable.assign(store[str(index)])
