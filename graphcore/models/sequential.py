"""`Sequential`: one layer after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphcore import tree
from graphcore.layers.input_layer import InputLayer
from graphcore.layers.layer import Layer
from graphcore.models.function_graph import FunctionGraph
from graphcore.models.model import Model
from graphcore.naming import name_scope
from graphcore.saving.objects import deserialize_layer, serialize_keras_object
from graphcore.saving.registration import CustomObjectScope
from graphcore.tensor import KerasTensor
from graphcore.tracing import untraced


class Sequential(Model):
    """A linear stack of layers.

    With an input shape (an `Input` first, or `input_shape=` of the first layer) it is built layer by layer;
    without, when it is first called or `build(input_shape)` is.

    Args:
        layers: layers to begin with.
        trainable: whether the weights may be trained.
        name: by default 'sequential', numbered.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """A plain layer: the first argument is a list of layers, not of tensors."""
        return Layer.__new__(cls, *args, **kwargs)

    def __init__(self, layers: Iterable[Any] | None = None, trainable: bool = True, name: str | None = None) -> None:
        super().__init__(trainable=trainable, name=name)
        self._stack: list[Any] = []
        self._tensors: list[KerasTensor] = []  # the input, then the output of each layer; empty before it is built
        for layer in layers or ():
            self.add(layer)

    # -- editing -----------------------------------------------------------------------------------------

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Append a layer.

        Raises:
            ValueError: if it is no layer, its name is taken, or it does not fit the output before it.
        """
        layer = self._as_layer(layer)
        if any(layer.name == other.name for other in self._stack):
            raise ValueError(
                f"All layers added to a Sequential model should have unique names. Name '{layer.name}' is "
                f"already the name of a layer in model '{self.name}'. Fix: pass another `name=`."
            )
        if isinstance(layer, InputLayer):
            if self._stack:
                raise ValueError(
                    f"Sequential model '{self.name}' has layers already, so an Input cannot be added: it stands first. "
                    f"Received: an Input of shape {layer.batch_shape}"
                )
            self._stack.append(layer)
            self._tensors = [layer.make_tensor()]
            return
        if not self._stack:
            self._begin(layer)
        self._stack.append(layer)
        if self._tensors:
            try:
                with untraced(), name_scope(self.name):
                    self._extend(layer)
            except Exception:
                self._stack.pop()
                raise

    def pop(self, rebuild: bool = True) -> Any:
        """Remove the last layer and return it.

        Raises:
            ValueError: if there is none.
        """
        if not self.layers:
            raise ValueError(f"There are no layers in the model '{self.name}'.")
        layer = self._stack.pop()
        if len(self._tensors) > 1:
            self._tensors.pop()
        self._drop_graph()
        return layer

    def _as_layer(self, layer: Any) -> Any:
        if isinstance(layer, KerasTensor) and layer.node is not None and layer.node.is_input:
            return layer.node.operation
        if isinstance(layer, Layer):
            return layer
        raise ValueError(
            f"Only instances of `graphcore.Layer` can be added to a Sequential model. Received: {layer!r} (of type "
            f"{type(layer).__name__})"
        )

    def _begin(self, layer: Any) -> None:
        """Put an input in front of a first layer that says what its input is like."""
        shape = layer.input_shape_argument
        dtype = layer.compute_dtype
        if shape is None and isinstance(layer, Model) and layer.graph is not None:
            first = layer.graph.inputs[0]
            shape, dtype = first.shape, first.dtype
        if shape is not None:
            self.add(InputLayer(batch_shape=shape, dtype=dtype))

    def _extend(self, layer: Any) -> None:
        output = layer(self._tensors[-1])
        if len(tree.flatten(output)) != 1 or not isinstance(tree.flatten(output)[0], KerasTensor):
            raise ValueError(
                f"Layers of a Sequential model must return one tensor. Layer '{layer.name}' of model "
                f"'{self.name}' returned: "
                f"{output!r}. Fix: use the Functional API."
            )
        self._tensors.append(tree.flatten(output)[0])
        self._drop_graph()

    def _drop_graph(self) -> None:
        """The graph follows from the tensors when it is next needed, so that adding n layers costs n calls."""
        self._untracked_graph: FunctionGraph | None = None
        self.built = len(self._tensors) > 1
        self.casts_inputs = not self.built
        self.input_spec = None

    # -- the graph ---------------------------------------------------------------------------------------

    @property
    def _graph(self) -> FunctionGraph | None:
        if len(self.__dict__.get("_tensors", ())) < 2:
            return None
        graph: FunctionGraph | None = self.__dict__.get("_untracked_graph")
        if graph is None:
            graph = FunctionGraph(self._tensors[0], self._tensors[-1], self.name)
            self._untracked_graph = graph
            self.set_graph(graph)
        return graph

    @_graph.setter
    def _graph(self, graph: FunctionGraph | None) -> None:
        self._untracked_graph = graph

    @property
    def input_spec(self) -> Any:
        """What the model expects of its input, once it has a graph."""
        return None if self._graph is None else self._untracked_spec

    @input_spec.setter
    def input_spec(self, spec: Any) -> None:
        self._untracked_spec = spec

    def build(self, input_shape: Any = None) -> None:
        """Create the weights of all layers for inputs of this shape, batch axis included (None: any size).

        Raises:
            ValueError: if there are no layers, or the shape is that of several inputs.
        """
        if len(self._tensors) > 1:
            return
        if not self._stack:
            raise ValueError(
                f"Sequential model '{self.name}' cannot be built because it has no layers. Call `model.add()`."
            )
        if input_shape is None:
            raise ValueError(f"You must provide an `input_shape` argument to build Sequential model '{self.name}'.")
        if not tree.is_shape(input_shape):
            raise ValueError(
                f"Sequential model '{self.name}' has one input. Received: input_shape={input_shape}. Fix: use the "
                "Functional API for several inputs."
            )
        if not isinstance(self._stack[0], InputLayer):
            first = InputLayer(batch_shape=tuple(input_shape), dtype=self._stack[0].compute_dtype)
            self._stack.insert(0, first)
            self._tensors = [first.make_tensor()]
        for layer in self._stack[len(self._tensors) :]:
            self._extend(layer)

    def get_config(self) -> dict[str, Any]:
        """The layers as data, with the shape of the input if it is known."""
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "layers": [serialize_keras_object(layer) for layer in self._stack],
        }
        if self._tensors:
            config["build_input_shape"] = list(self._tensors[0].shape)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The model that `get_config` described, with new weights."""
        if "layers" not in config:
            return Layer.from_config.__func__(cls, config)  # type: ignore[attr-defined]
        model = cls(name=config.get("name"))
        with CustomObjectScope(custom_objects):
            for layer in config["layers"]:
                model.add(deserialize_layer(layer))
        shape = config.get("build_input_shape")
        if shape and model._stack and not model._tensors:
            model.build(tuple(shape))
        if config.get("trainable") is False:
            model.trainable = False
        return model

    # -- structure ---------------------------------------------------------------------------------------

    def sublayers(self) -> list[Any]:
        """The layers, in order, without the input."""
        return self.layers

    @property
    def layers(self) -> list[Any]:
        """The layers, in order, without the input."""
        return self._stack[1:] if self._stack and isinstance(self._stack[0], InputLayer) else list(self._stack)
