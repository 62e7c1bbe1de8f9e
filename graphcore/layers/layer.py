"""The base of all layers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from graphcore import dtype_policies, regularizers, tree
from graphcore.dtype_policies import DTypePolicy
from graphcore.layers.calling import abstract_call, build_if_needed, call_layer
from graphcore.layers.signature import function_signature
from graphcore.layers.state import StatefulOperation
from graphcore.naming import current_path, name_scope
from graphcore.tensor import KerasTensor
from graphcore.tracing import untraced


class Layer(StatefulOperation):
    """State and the computation that uses it.

    Subclasses create weights in `build(input_shape)` or `__init__` with `add_weight` and compute in `call`, with
    functions of `graphcore.ops` and operators. `call` is traced: it runs once per program, on tensors without
    numbers. Sub-layers and variables in attributes, also in lists, tuples and dicts, belong to the layer.

    Args:
        activity_regularizer: function of each output; its result, divided by the batch size, joins the loss.
        trainable: whether the weights may be trained.
        dtype: element type or `DTypePolicy`; by default `floatx()`.
        autocast: whether floating inputs are cast to the layer's compute type.
        name: by default the class name in snake case, numbered.

    Calling a layer on tensors of `Input` describes a model; on tensors inside another layer's `call` it joins the
    program being traced; on arrays it runs at once and returns NumPy arrays.
    """

    is_model = False  # whether its name is left out of the paths of the layers in it
    passes_masks = False  # on for what only calls layers: they keep masks, or warn
    is_input_layer = False
    accepts_any_arguments = False  # whether `call` may be given positional arguments that are no tensors
    casts_inputs = True  # off for models whose inputs say which element type they want
    builds_by_calling = False  # on for models that have no `build` of their own: their first call builds the layers
    input_spec: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Layer:
        """Remember the arguments: `get_config` of a class that has none of its own returns them."""
        layer: Layer = super().__new__(cls)
        object.__setattr__(layer, "_init_arguments", (args, kwargs))
        return layer

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _finishing(cls.__dict__["build"])  # type: ignore[method-assign]

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name)
        self.input_shape_argument = _input_shape(kwargs)
        if kwargs:
            raise ValueError(
                f"Unrecognized keyword arguments passed to {type(self).__name__}: {kwargs}. Fix: check the spelling "
                f"against `help({type(self).__name__})`."
            )
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.dtype_policy: DTypePolicy = dtype_policies.get(dtype)
        self.autocast = autocast
        self.built = False
        own_mask = type(self).compute_mask is not Layer.compute_mask
        self.supports_masking = own_mask or bool(getattr(type(self), "supports_masking", False))
        self._trainable = bool(trainable)
        self._own_variables = []
        self._loss_values: list[Any] = []
        self._build_shapes: dict[str, Any] = {}
        self._is_building = False
        self.path = current_path(self.name)

    # -- what subclasses define --------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Create the weights; called once, before the first `call`, with the shape of its first argument.

        A `build` with several parameters gets one shape per tensor argument of `call`: `query_shape` for `query`.
        """
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The computation. Parameters named `training` and `mask` are filled in."""
        raise NotImplementedError(f"Layer {type(self).__name__} does not have a `call()` method implemented.")

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the output; by default that of the input."""
        return previous_mask

    def symbolic_structure(self, outputs: Any) -> Any:
        """The structure in which a call on symbolic tensors returns these outputs: that which `call` gave them."""
        return outputs

    # -- calling -----------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Build the layer if needed and compute its output."""
        self.check_initialised()
        return call_layer(self, args, kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic tensors with the type of the output, without recording a call.

        Args:
            args, kwargs: what `call` takes, with symbolic tensors.
        """
        with untraced():
            return abstract_call(self, args, kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The shape of the output for given shapes of the inputs (None: any size)."""

        def tensor(shape: tuple[int | None, ...]) -> KerasTensor:
            return KerasTensor(shape, self.compute_dtype)

        specs = [tree.map_shape_structure(tensor, shape) for shape in (*args, *kwargs.values())]
        outputs = self.compute_output_spec(*specs)
        return tree.map_structure(lambda leaf: leaf.shape, outputs)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Create the weights for the shapes that `get_build_config` returned."""
        shapes = config.get("shapes_dict") or {}
        if self.built:
            return
        if any(shape is not None for shape in shapes.values()):
            self.build(**shapes)
        elif config.get("input_shape") is not None:
            self.build(config["input_shape"])  # the first parameter, whatever its name

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes the layer was built for."""
        shapes = self._build_shapes
        if not shapes:
            return None
        return {"input_shape": next(iter(shapes.values()))} if len(shapes) == 1 else {"shapes_dict": shapes}

    def remember_shapes(self, shapes: dict[str, Any]) -> None:
        """Mark the layer as built for arguments of these shapes."""
        self.built = True
        self._build_shapes = shapes

    def build_for(self, *args: Any, **kwargs: Any) -> None:
        """Create the weights for calls on tensors or arrays like these."""
        build_if_needed(self, args, kwargs)

    # -- shapes of recorded calls ------------------------------------------------------------------------

    @property
    def input_shape(self) -> Any:
        """The shape (or shapes) of the input of the first recorded call, or that the layer was built for."""
        if self.nodes:
            return tree.map_structure(lambda tensor: tensor.shape, self.input)
        if self._build_shapes:
            return next(iter(self._build_shapes.values()))
        return self._first_node("input_shape")

    @property
    def output_shape(self) -> Any:
        """The shape (or shapes) of the output of the first recorded call, or for the shape it was built for."""
        if self.nodes:
            return tree.map_structure(lambda tensor: tensor.shape, self.output)
        if self._build_shapes:
            return self.compute_output_shape(*self._build_shapes.values())
        return self._first_node("output_shape")

    # -- configuration -----------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Keyword arguments that make a layer like this one.

        Raises:
            NotImplementedError: if a subclass takes arguments of its own that are no plain data and does not
                define `get_config`.
        """
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable, "dtype": _dtype_config(self)}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        if type(self).get_config is not Layer.get_config or type(self).__init__ is Layer.__init__:
            return config
        return config | self._captured_arguments()

    def _captured_arguments(self) -> dict[str, Any]:
        """The arguments of `__init__`, for a class that leaves `get_config` to this one."""
        args, kwargs = self._init_arguments  # type: ignore[attr-defined]
        names = [name for name in inspect.signature(type(self).__init__).parameters if name != "self"]
        given = dict(zip(names, args, strict=False)) | kwargs
        plain = (bool, int, float, str, type(None))
        for name, value in given.items():
            if not all(isinstance(leaf, plain) for leaf in tree.flatten(value)):
                raise NotImplementedError(
                    f"Layer {type(self).__name__} was created with {name}={value!r}, which is no plain data. Fix: "
                    "override `get_config` so that it returns everything `__init__` needs."
                )
        accepted = set(names) if "kwargs" not in names else None
        base = {} if accepted is None else {k: v for k, v in given.items() if k in accepted}
        return base or given

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer made with the arguments that `get_config` returned."""
        try:
            return cls(**config)
        except TypeError as error:
            raise TypeError(
                f"Error when creating {cls.__name__} from its configuration {config}: {error}. Fix: `get_config` must "
                "return the arguments of `__init__`."
            ) from error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _finishing(build: Callable[..., Any]) -> Callable[..., Any]:
    """A `build` that also marks the layer built, remembers the shapes and scopes the names of its variables."""

    @functools.wraps(build)
    def finished(self: Layer, *args: Any, **kwargs: Any) -> Any:
        self.check_initialised()
        if self._is_building:  # `super().build(...)`
            return build(self, *args, **kwargs)
        bound = function_signature(build).bind(self, *args, **kwargs).arguments
        self._is_building = True
        try:
            with untraced(), name_scope(self.name):
                self.path = current_path()
                result = build(self, *args, **kwargs)
        finally:
            self._is_building = False
        self.built = True
        shapes = {name: value for name, value in bound.items() if name != "self"}
        self._build_shapes = {k: v for k, v in shapes.items() if k not in ("args", "kwargs")}
        return result

    return finished


Layer.build = _finishing(Layer.build)  # type: ignore[method-assign]


def _dtype_config(layer: Layer) -> Any:
    policy = layer.dtype_policy
    return {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": policy.get_config(),
        "registered_name": None,
    }


def _input_shape(kwargs: dict[str, Any]) -> tuple[int | None, ...] | None:
    """The batch shape that Keras 2's `input_shape`, `input_dim` or `batch_input_shape` asks for; taken out."""
    batch_size = kwargs.pop("batch_size", None)
    if "batch_input_shape" in kwargs:
        return tuple(kwargs.pop("batch_input_shape"))
    if "input_shape" in kwargs:
        shape = kwargs.pop("input_shape")
        return (batch_size, *(shape if isinstance(shape, (list, tuple)) else (shape,)))
    if "input_dim" in kwargs:
        return (batch_size, kwargs.pop("input_dim"))
    return None
