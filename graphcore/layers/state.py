"""The state of a layer: variables of its own and of its sub-layers, losses, and how they are saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcore import constraints, initializers, regularizers, tree
from graphcore.dtype_policies import DTypePolicy, standardize_dtype
from graphcore.layers import tracking
from graphcore.operation import Operation
from graphcore.tensor import KerasTensor
from graphcore.tracing import current_trace, untraced
from graphcore.variable import Variable

_FORGOTTEN = (
    "In layer '{name}', you forgot to call `super().__init__()` as the first statement in the `__init__()` method. "
    "Fix: call `super().__init__(**kwargs)` before anything else."
)


class StatefulOperation(Operation):
    """An operation that owns variables, directly and through sub-layers in its attributes."""

    built: bool
    dtype_policy: DTypePolicy
    path: str
    _trainable: bool
    _own_variables: list[Variable]
    _loss_values: list[Any]

    def check_initialised(self) -> None:
        """Raise RuntimeError if a subclass's `__init__` did not call this class's."""
        if "_own_variables" not in self.__dict__:
            raise RuntimeError(_FORGOTTEN.format(name=type(self).__name__))

    # -- variables ---------------------------------------------------------------------------------------

    def add_weight(
        self,
        shape: Sequence[int] | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str | None = None,
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Create a variable of this layer.

        Args:
            shape: extents; a scalar if left out.
            initializer: function, name or configuration; glorot_uniform for floats, zeros for the rest.
            dtype: element type; by default the layer's.
            trainable: whether optimizers change it.
            autocast: whether the layer sees it cast to its compute type.
            regularizer: function or name of one; its result joins the loss.
            constraint: function or name of one, applied after each optimizer step.
            name: by default 'variable', numbered.
        """
        self.check_initialised()
        dtype = self.variable_dtype if dtype is None else standardize_dtype(dtype)
        if initializer is None:
            initializer = "glorot_uniform" if dtype.startswith("float") else "zeros"
        name = name or ("variable" if not self._own_variables else f"variable_{len(self._own_variables)}")
        with untraced():
            variable = Variable(
                initializers.get(initializer),
                shape=() if shape is None else shape,
                dtype=dtype,
                trainable=trainable,
                autocast=autocast,
                aggregation=aggregation,
                name=name,
                path=f"{self.path}/{name}",
                regularizer=regularizers.get(regularizer),
                constraint=constraints.get(constraint),
            )
        variable.overwrite_with_gradient = overwrite_with_gradient
        if not self._trainable:
            variable.trainable = False
        self._own_variables.append(variable)
        return variable

    def add_variable(
        self, shape: Sequence[int], initializer: Any, dtype: Any = None, trainable: bool = True, **kwargs: Any
    ) -> Variable:
        """`add_weight` with Keras's older name."""
        return self.add_weight(shape=shape, initializer=initializer, dtype=dtype, trainable=trainable, **kwargs)

    def sublayers(self) -> list[Any]:
        """The layers in this layer's attributes, in the order of assignment."""
        return tracking.owned(self, lambda item: isinstance(item, StatefulOperation))

    def flatten_layers(self, include_self: bool = True) -> list[Any]:
        """This layer and all in it, at any depth, each once, outer before inner."""
        found: list[Any] = []
        seen: set[int] = set()
        pending: list[Any] = [self]
        while pending:
            layer = pending.pop()
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            found.append(layer)
            pending.extend(reversed(layer.sublayers()))
        return found if include_self else found[1:]

    @property
    def weights(self) -> list[Variable]:
        """All weights: this layer's (trainable first), then its sub-layers'."""
        return tracking.unique(v for layer in self.flatten_layers() for v in tracking.own_variables(layer))

    @property
    def variables(self) -> list[Variable]:
        """All state except metrics: weights and the states of random generators."""
        found: list[Variable] = []
        for layer in self.flatten_layers():
            found += tracking.own_variables(layer)
            found += [generator.state for generator in tracking.owned(layer, tracking.is_seed_generator)]
        return tracking.unique(found)

    @property
    def trainable_variables(self) -> list[Variable]:
        """The state that optimizers change."""
        return [v for v in self.variables if v.trainable] if self.trainable else []

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The state that optimizers leave alone."""
        return [v for v in self.variables if not v.trainable] if self.trainable else self.variables

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that optimizers change."""
        return [v for v in self.weights if v.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that optimizers leave alone."""
        return [v for v in self.weights if not v.trainable] if self.trainable else self.weights

    @property
    def metrics(self) -> list[Any]:
        """Metrics in the attributes of this layer and its sub-layers."""
        layers = self.flatten_layers()
        return tracking.unique(m for layer in layers for m in tracking.owned(layer, tracking.is_metric))

    @property
    def metrics_variables(self) -> list[Variable]:
        """The variables of `metrics`."""
        return [variable for metric in self.metrics for variable in metric.variables]

    @property
    def trainable(self) -> bool:
        """Whether optimizers may change the weights; setting it sets all weights and sub-layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.flatten_layers():
            layer._trainable = bool(value)
            for variable in tracking.own_variables(layer):
                if variable.created_trainable:
                    variable.trainable = bool(value)

    def count_params(self) -> int:
        """Number of elements in all weights.

        Raises:
            ValueError: if the layer has no weights yet.
        """
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer '{self.name}', but the layer isn't built. Fix: call it on "
                "data, or `build(input_shape)`."
            )
        return sum(variable.size for variable in self.weights)

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the weights, in the order of `weights`."""
        return [variable.numpy() for variable in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace the weights.

        Raises:
            ValueError: if their number or a shape differs; then nothing is changed.
        """
        own = self.weights
        arrays = [np.asarray(weight) for weight in weights]
        if len(arrays) != len(own):
            raise ValueError(
                f"You called `set_weights(weights)` on layer '{self.name}' with a weight list of length {len(arrays)}, "
                f"but the layer was expecting {len(own)} weights."
            )
        for variable, array in zip(own, arrays, strict=True):
            if variable.shape != array.shape:
                raise ValueError(
                    f"Layer '{self.name}' weight '{variable.path}' has shape {variable.shape}. Received in "
                    f"`set_weights`: an array of shape {array.shape}"
                )
        for variable, array in zip(own, arrays, strict=True):
            variable.assign(array)

    # -- losses ------------------------------------------------------------------------------------------

    def add_loss(self, loss: Any) -> None:
        """Add a tensor (or several), computed in `call`, to what training minimises."""
        trace = current_trace()
        for value in tree.flatten(loss):
            if trace is None or not isinstance(value, KerasTensor):
                raise ValueError(
                    "`add_loss()` can only be called from inside `call()`, on a tensor computed there. Received "
                    "in layer "
                    f"'{self.name}': {value!r}"
                )
            trace.add_loss(self, value)

    @property
    def losses(self) -> list[Any]:
        """What `add_loss`, activity regularizers and weight regularizers contribute.

        Inside a traced program these are tensors of that program; outside, numbers of the last call on arrays.
        """
        layers = self.flatten_layers()
        trace = current_trace()
        if trace is None:
            added = [value for layer in layers for value in layer._loss_values]
        else:
            own = {id(layer) for layer in layers}
            added = [loss for owner, loss in trace.losses if id(owner) in own]
        regularized = [v for v in self.trainable_weights if v.regularizer is not None]
        return added + [v.regularizer(v) for v in regularized if v.regularizer is not None]

    def keep_loss(self, value: Any) -> None:
        """Remember the number of a loss added in a call on arrays."""
        self._loss_values.append(value)

    def clear_losses(self) -> None:
        """Forget the losses of the last call on arrays."""
        self._loss_values = []

    # -- element types -----------------------------------------------------------------------------------

    @property
    def dtype(self) -> str:
        """The type weights are stored in."""
        return self.dtype_policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """The type weights are stored in."""
        return self.dtype_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The type floating inputs and weights have in `call`."""
        return self.dtype_policy.compute_dtype

    @property
    def input_dtype(self) -> str:
        """The type floating inputs are cast to."""
        return self.dtype_policy.compute_dtype

    # -- saving ------------------------------------------------------------------------------------------

    def save_own_variables(self, store: Any) -> None:
        """Put this layer's own variables into a mapping, under '0', '1', ..."""
        for i, variable in enumerate(tracking.own_variables(self)):
            store[str(i)] = variable.array

    def load_own_variables(self, store: Any) -> None:
        """Take this layer's own variables out of a mapping that `save_own_variables` filled.

        Raises:
            ValueError: if their number or a shape differs.
        """
        own = tracking.own_variables(self)
        if len(store.keys()) != len(own):
            hint = ""
            if not own and not self.built:
                hint = " The layer was never built: call the model on data, or `build(input_shape)`, before loading."
            raise ValueError(
                f"Layer '{self.name}' expected {len(own)} variables, but received {len(store.keys())} variables during "
                f"loading. Expected: {[variable.name for variable in own]}.{hint}"
            )
        for i, variable in enumerate(own):
            array = store[str(i)]
            if tuple(array.shape) != variable.shape:
                raise ValueError(
                    f"Variable '{variable.path}' of layer '{self.name}' has shape {variable.shape}. Received: a stored "
                    f"array of shape {tuple(array.shape)}"
                )
            variable.assign(np.asarray(array))
