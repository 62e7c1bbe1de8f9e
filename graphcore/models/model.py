"""`Model`: layers joined to something that can be trained."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any, ClassVar

from graphcore import ops, tree
from graphcore.layers.input_spec import InputSpec
from graphcore.layers.layer import Layer
from graphcore.layers.tracking import unique
from graphcore.models.function_graph import FunctionGraph
from graphcore.models.graph_config import graph_config, graph_from_config
from graphcore.operation import Operation
from graphcore.saving.objects import deserialize_keras_object, serialize_keras_object
from graphcore.saving.registration import CustomObjectScope
from graphcore.tensor import KerasTensor
from graphcore.tracing import Trace, current_trace, untraced
from graphcore.training.trainer import Trainer


class Model(Trainer, Layer):
    """A layer that can be trained, evaluated, saved and summarised.

    Either describe it by its tensors, `Model(inputs, outputs)`, or subclass it: create layers in `__init__` and
    call them in `call`, which is traced like that of any layer. A subclass may be described by tensors too.

    Args:
        inputs, outputs: symbolic tensors, or lists, tuples or dicts of them; one in a list is returned alone.
        name: by default the class name in snake case, numbered.
        trainable: whether the weights may be trained.
    """

    is_model = True
    accepts_any_arguments = True
    functional_class: ClassVar[type[Model]]
    _graph: FunctionGraph | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """`Model(inputs, outputs)` makes a `Functional`."""
        if cls is Model and _is_functional(args, kwargs):
            return Layer.__new__(Model.functional_class, *args, **kwargs)
        return Layer.__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._graph = None
        if not _is_functional(args, kwargs):
            super().__init__(*args, **kwargs)
            return
        given = dict(zip(("inputs", "outputs"), args, strict=False))
        inputs = kwargs.pop("inputs", None) if "inputs" not in given else given["inputs"]
        outputs = kwargs.pop("outputs", None) if "outputs" not in given else given["outputs"]
        if inputs is None or outputs is None:
            raise ValueError(
                "A model described by its tensors needs both `inputs` and `outputs`. Received: "
                f"inputs={inputs!r}, outputs={outputs!r}"
            )
        super().__init__(**kwargs)
        self.set_graph(FunctionGraph(inputs, outputs, self.name))

    def set_graph(self, graph: FunctionGraph) -> None:
        """Compute by running this graph from now on."""
        self._graph = graph
        self.built = True
        self.casts_inputs = False
        names: list[Any] = list(self.input_names)
        if isinstance(graph.input_structure, dict) and any(map(tree.is_nested, graph.input_structure.values())):
            names = [None] * len(graph.inputs)  # its keys name groups of inputs
        self.input_spec = [_spec(tensor, name) for tensor, name in zip(graph.inputs, names, strict=True)]
        if not self._trainable:
            self.trainable = False

    @property
    def builds_by_calling(self) -> bool:  # type: ignore[override]
        """Whether the first call builds the layers: there is no graph and no `build` of the class's own."""
        return self._graph is None and type(self).build is Model.build

    @property
    def passes_masks(self) -> bool:  # type: ignore[override]
        """Whether masks go through the layers of a graph."""
        return self._graph is not None

    # -- computing ---------------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Create the weights of all layers by tracing `call` on inputs of these shapes (None: any size)."""
        if self._graph is not None:
            return

        def placeholder(shape: tuple[int | None, ...]) -> KerasTensor:
            return trace.input(f"input_{len(trace.builder.inputs)}", shape, self.compute_dtype)

        trace = Trace(self.name)
        with untraced(), trace:
            self.call(tree.map_shape_structure(placeholder, input_shape))

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Run the model described by its tensors; subclasses define their own."""
        if self._graph is None:
            raise NotImplementedError(
                f"Model {type(self).__name__} does not have a `call()` method implemented. Fix: define "
                "`call(self, inputs)`, or make the model with `Model(inputs, outputs)`."
            )
        trace = current_trace()
        assert trace is not None
        given = self._in_order(inputs)
        if mask is not None:
            for tensor, one in zip(given, tree.flatten(mask), strict=True):
                if tensor is not None and one is not None:
                    tensor.keras_mask = one
        return _only_entry(self._graph.run(trace, [self._adjusted(i, tensor) for i, tensor in enumerate(given)]))

    def symbolic_structure(self, outputs: Any) -> Any:
        """The outputs as they were given: a list of one stays one where a model is described, as in Keras."""
        return outputs if self._graph is None else tree.pack_sequence_as(self.output, tree.flatten(outputs))

    def _in_order(self, inputs: Any) -> list[Any]:
        """The inputs in the graph's order; a dict may name them."""
        assert self._graph is not None
        structure = self._graph.input_structure
        if isinstance(inputs, dict) and not isinstance(structure, dict):
            missing = [name for name in self.input_names if name not in inputs]
            if missing:
                raise ValueError(
                    f"Missing data for input {missing[0]!r} of model '{self.name}'. You passed a dictionary with keys "
                    f"{list(inputs)}; the model's inputs are {self.input_names}."
                )
            return [inputs[name] for name in self.input_names]
        if isinstance(structure, dict) and isinstance(inputs, dict):
            return tree.flatten({key: inputs[key] for key in structure})
        return tree.flatten(inputs)

    def _adjusted(self, i: int, tensor: Any) -> Any:
        """An input in the element type and rank the graph wants; one last axis of extent 1 may differ."""
        assert self._graph is not None
        wanted = self._graph.inputs[i]
        if tensor is None:
            return None
        mask = tensor.keras_mask
        if tensor.dtype != wanted.dtype:
            tensor = ops.cast(tensor, wanted.dtype)
        if tensor.ndim == wanted.ndim + 1 and tensor.shape[-1] == 1:
            tensor = ops.squeeze(tensor, -1)
        elif tensor.ndim == wanted.ndim - 1 and wanted.shape[-1] == 1:
            tensor = ops.expand_dims(tensor, -1)
        elif tensor.ndim != wanted.ndim:
            raise ValueError(
                f"Invalid shape for input {i} ('{self.input_names[i]}') of model '{self.name}'. Expected "
                f"{wanted.shape}. "
                f"Received: {tensor.shape}"
            )
        tensor.keras_mask = mask
        return tensor

    # -- structure ---------------------------------------------------------------------------------------

    @property
    def graph(self) -> FunctionGraph | None:
        """The graph of a model described by its tensors."""
        return self._graph

    def _described(self, what: str) -> FunctionGraph:
        if self._graph is None:
            raise AttributeError(
                f"Model '{self.name}' has no `{what}`: it is not described by tensors. Fix: use Model(inputs, "
                f"outputs), or "
                "give a Sequential model an Input."
            )
        return self._graph

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic inputs, as a flat list."""
        return list(self._described("inputs").inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic outputs, as a flat list."""
        return list(self._described("outputs").outputs)

    @property
    def input(self) -> Any:
        """The symbolic inputs as they were given."""
        return self._described("input").input_structure if self._graph is not None else super().input

    @property
    def output(self) -> Any:
        """The symbolic outputs as they were given."""
        return self._described("output").output_structure if self._graph is not None else super().output

    @property
    def input_shape(self) -> Any:
        """The shape of the input, or those of several in a flat list."""
        return super().input_shape if self._graph is None else _shapes(self._graph.inputs)

    @property
    def output_shape(self) -> Any:
        """The shape of the output, or those of several in a flat list."""
        return super().output_shape if self._graph is None else _shapes(self._graph.outputs)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs: the keys of a dict, else the names of the input layers."""
        graph = self._described("input_names")
        structure = graph.input_structure
        if isinstance(structure, dict) and not any(tree.is_nested(value) for value in structure.values()):
            return [str(key) for key in tree.sorted_keys(structure)]
        return [_maker(tensor) for tensor in graph.inputs]

    @property
    def output_names(self) -> list[str] | None:
        """Names of the layers that make the outputs; None for a model that is not described by tensors."""
        return None if self._graph is None else [_maker(tensor) for tensor in self._graph.outputs]

    @property
    def operations(self) -> list[Operation]:
        """Layers and functions of the graph, in Keras's order."""
        return list(self._described("operations").operations)

    def sublayers(self) -> list[Any]:
        """The layers of the graph, then those in attributes."""
        graph_layers = [] if self._graph is None else [x for x in self._graph.operations if isinstance(x, Layer)]
        return unique([*graph_layers, *super().sublayers()])

    @property
    def layers(self) -> list[Any]:
        """The layers directly in this model."""
        return self.sublayers()

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """A layer by its name or its place in `layers`.

        Raises:
            ValueError: if there is none, or not exactly one of the arguments is given.
        """
        if (name is None) == (index is None):
            raise ValueError(f"Provide either a layer name or an index. Received: index={index} and name={name}.")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"Was asked to retrieve layer at index {index}, but the model has {len(layers)} layers."
                )
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(f"No such layer: {name}. Existing layers are: {[layer.name for layer in layers]}.")

    # -- reports -----------------------------------------------------------------------------------------

    def summary(
        self,
        line_length: int | None = None,
        positions: list[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: list[str] | tuple[str, str] | None = None,
    ) -> None:
        """Print a table of the layers with their output shapes and numbers of parameters.

        Args:
            line_length: width in characters; 88, or 108 with connections, but not wider than the terminal.
            positions: where the columns end, as shares of the width.
            print_fn: called once with the whole text in place of printing.
            expand_nested: whether layers of inner models get rows.
            show_trainable: whether a column says which layers are trained.
            layer_range: two regular expressions for the names of the first and last layer to show.
        """
        from graphcore.summary import print_summary

        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range)

    def report(
        self, path: Any = None, kind: str = "train", x: Any = None, y: Any = None, *, batch_size: int = 32
    ) -> str:
        """A page that shows what the compiler made of a step: layers, passes, fusion, memory, kernels, a profile.

        One HTML file that needs no network. The step is compiled and run a few times; variables stay as they are.

        Args:
            path: where to write it; None for nowhere.
            kind: "train", "test" or "predict"; before `compile()` only the last is possible.
            x, y: one batch to run on; without it the step is that of `lower(kind)`, on made-up numbers.
            batch_size: samples of the made-up batch.

        Returns:
            The page.

        Raises:
            ValueError: as `lower` does, or if the batch does not fit.
        """
        from graphcore.report import model_report  # here, since pages need what nothing else does

        return model_report(self, path, kind, x, y, batch_size)

    # -- configuration -----------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Data that describe the model: its layers and how they are joined, or the arguments of a subclass.

        Raises:
            TypeError, NotImplementedError: if a layer or an argument has no plain form.
        """
        if self._graph is None or type(self).__init__ is not _functional_init(type(self)):
            return super().get_config()
        return {"name": self.name, "trainable": self.trainable, **graph_config(self._graph)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The model that `get_config` described, with new weights."""
        if not {"layers", "input_layers", "output_layers"} <= config.keys():
            return super().from_config(config)
        with CustomObjectScope(custom_objects):
            inputs, outputs = graph_from_config(config)
        model = cls(inputs=inputs, outputs=outputs, name=config.get("name"))
        if config.get("trainable") is False:
            model.trainable = False
        return model

    def to_json(self, **kwargs: Any) -> str:
        """The configuration as text, for `model_from_json`. Arguments are those of `json.dumps`."""
        return json.dumps(serialize_keras_object(self), **kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """See `Trainer.compile`, whose arguments it takes; they are kept so that a file can hold them."""
        super().compile(*args, **kwargs)
        given = _COMPILE.bind(self, *args, **kwargs).arguments
        self._untracked_compiled = {key: value for key, value in given.items() if key != "self"}

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile` as data; None if the model is not compiled."""
        if not self.compiled:
            return None
        given = self._untracked_compiled | {"optimizer": self.optimizer}
        return {key: serialize_keras_object(value) for key, value in given.items()}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with the arguments that `get_compile_config` returned; makes the optimizer's state."""
        known = {key: value for key, value in config.items() if key in _COMPILE.parameters}
        self.compile(**deserialize_keras_object(known))
        if self.built and self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    # -- files -------------------------------------------------------------------------------------------

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Write architecture, weights and training state to a `.keras` file; see `graphcore.saving.save_model`."""
        from graphcore.saving import save_model

        save_model(self, filepath, overwrite=overwrite)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Write all weights to a `.weights.h5` file; see `graphcore.saving.save_weights`."""
        from graphcore.saving import save_weights

        save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False) -> None:
        """Read all weights from a `.weights.h5` file; see `graphcore.saving.load_weights`."""
        from graphcore.saving import load_weights

        load_weights(self, filepath, skip_mismatch=skip_mismatch)


_COMPILE = inspect.signature(Trainer.compile)
# What `help` and editors show: the arguments, not "whatever Trainer.compile takes".
vars(Model)["compile"].__signature__ = _COMPILE
vars(Model)["compile"].__doc__ = Trainer.compile.__doc__


def _functional_init(cls: type[Model]) -> Any:
    """The `__init__` of classes that take just inputs and outputs."""
    return Model.__init__ if cls.__init__ is Model.__init__ else Model.functional_class.__init__


def _is_functional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return len(args) >= 2 or (len(args) == 1 and "outputs" in kwargs) or "inputs" in kwargs


def _spec(tensor: KerasTensor, name: str | None) -> InputSpec:
    optional = tensor.node is not None and getattr(tensor.node.operation, "optional", False)
    return InputSpec(shape=(None, *tensor.shape[1:]), allow_last_axis_squeeze=True, name=name, optional=optional)


def _maker(tensor: KerasTensor) -> str:
    return tensor.name if tensor.node is None else tensor.node.operation.name


def _shapes(tensors: list[KerasTensor]) -> Any:
    return _only_entry([tensor.shape for tensor in tensors])


def _only_entry(structure: Any) -> Any:
    """The entry of a list or tuple of one; anything else as it is."""
    return structure[0] if isinstance(structure, (list, tuple)) and len(structure) == 1 else structure
