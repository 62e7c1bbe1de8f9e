"""Objects as plain data and back, in Keras's form: module, class name, configuration, registered name.

What a file names is looked up in closed tables: the built-in classes and functions, and what this process
registered. Nothing is imported because a file says so, and no code is stored in files.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphcore import (
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from graphcore.dtype_policies import DTypePolicy
from graphcore.identifiers import custom_objects, find_function, serialize_function
from graphcore.layers.layer import Layer
from graphcore.saving.registration import CustomObjectScope, get_registered_name
from runtime.dimensions import SymbolicInt, parse_dim

# Model classes enter here when graphcore.models is imported, since it imports this package.
MODEL_CLASSES: dict[str, type[Layer]] = {}

# Keras on PyTorch names its own optimizers, `keras.src.backend.torch.optimizers.torch_adam` for one.
_BACKEND_OPTIMIZERS = re.compile(r"keras\.src\.backend\.\w+\.optimizers\.\w+")

_PLAIN = (str, bool, int, float, type(None))
_KINDS: tuple[tuple[str, Callable[[], tuple[type, ...]], Any], ...] = (
    ("keras.losses", lambda: (losses.Loss,), losses),
    ("keras.metrics", lambda: (metrics.Metric,), metrics),
    ("keras.optimizers", lambda: (optimizers.Optimizer,), optimizers),
    ("keras.optimizers.schedules", lambda: (optimizers.schedules.LearningRateSchedule,), optimizers.schedules),
    ("keras.initializers", lambda: (initializers.Initializer,), initializers),
    ("keras.regularizers", lambda: (regularizers.Regularizer,), regularizers),
    ("keras.constraints", lambda: (constraints.Constraint,), constraints),
)


def serialize_keras_object(thing: Any) -> Any:
    """Plain data (JSON can hold it) that `deserialize_keras_object` turns back into an equal object.

    Raises:
        TypeError: if the object has no plain form.
    """
    if isinstance(thing, _PLAIN):
        return thing
    if isinstance(thing, dict):
        return {str(key): serialize_keras_object(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [serialize_keras_object(item) for item in thing]
    special = _special(thing)
    if special is not None:
        return special
    if isinstance(thing, DTypePolicy):
        return _entry("keras", "DTypePolicy", thing.get_config(), None)
    if isinstance(thing, Layer):
        return serialize_layer(thing)
    for _, classes, module in _KINDS:
        if isinstance(thing, classes()):
            return module.serialize(thing)
    if callable(thing) and hasattr(thing, "__name__") and not isinstance(thing, type):
        return serialize_function(thing)
    raise TypeError(
        f"{thing!r} (of type {type(thing).__name__}) cannot be stored: it is neither plain data nor an object with a "
        "configuration. Fix: give its class `get_config` and register it with `register_keras_serializable`."
    )


def _special(thing: Any) -> dict[str, Any] | None:
    """Plain forms of what stands in arguments but not in JSON."""
    if isinstance(thing, (np.ndarray, np.generic)):
        array = np.asarray(thing)
        return {"class_name": "__numpy__", "config": {"value": array.tolist(), "dtype": array.dtype.name}}
    if isinstance(thing, slice):
        return {"class_name": "__slice__", "config": {"start": thing.start, "stop": thing.stop, "step": thing.step}}
    if thing is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(thing, SymbolicInt):
        return {"class_name": "__size__", "config": str(thing)}
    return None


def _entry(module: str, class_name: str, config: Any, registered: str | None) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}


def builtin_class(name: str) -> type[Layer] | None:
    """The layer or model class of this name that files may name; None if there is none."""
    importlib.import_module("graphcore.models")  # which adds its own; it imports this module
    return MODEL_CLASSES.get(name) or layers.builtin_layer(name)


def serialize_layer(layer: Layer) -> dict[str, Any]:
    """A layer or model, with the shapes it was built for and (models) how it was compiled."""
    cls = type(layer)
    builtin = builtin_class(cls.__name__) is cls
    module, registered = _names_in_keras(cls.__name__) if builtin else (cls.__module__, get_registered_name(cls))
    data = _entry(module, cls.__name__, serialize_keras_object(layer.get_config()), registered)
    build_config = layer.get_build_config()
    if build_config is not None:
        data["build_config"] = serialize_keras_object(build_config)
    compile_config = getattr(layer, "get_compile_config", lambda: None)()
    if compile_config:
        data["compile_config"] = compile_config
    return data


def _names_in_keras(name: str) -> tuple[str, str | None]:
    """The module that Keras's files name for a built-in class, which is where Keras looks it up, and its registered
    name: `Functional` is no public name there.
    """
    if name == "Functional":
        return "keras.src.models.functional", name
    return "keras" if name in MODEL_CLASSES else "keras.layers", None


def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """The object that plain data describe.

    Args:
        config: what `serialize_keras_object` returned.
        custom_objects: further names for this call.
        safe_mode: kept for Keras's sake; files hold no code that could be unsafe.

    Raises:
        ValueError: if a name is unknown.
    """
    with CustomObjectScope(custom_objects):
        return _deserialize(config)


def _deserialize(config: Any) -> Any:
    if isinstance(config, _PLAIN):
        return config
    if isinstance(config, (list, tuple)):
        return [_deserialize(item) for item in config]
    if not isinstance(config, dict):
        raise ValueError(f"Expected plain data. Received: {config!r} (of type {type(config).__name__})")
    if "class_name" not in config or "config" not in config:
        return {key: _deserialize(value) for key, value in config.items()}
    name, inner = config["class_name"], config["config"]
    match name:
        case "__numpy__":
            return np.array(inner["value"], dtype=inner["dtype"])
        case "__slice__":
            return slice(_deserialize(inner["start"]), _deserialize(inner["stop"]), _deserialize(inner["step"]))
        case "__ellipsis__":
            return Ellipsis
        case "__size__":
            return parse_dim(inner)
        case "function":
            return find_function(config)
        case "DTypePolicy":
            return DTypePolicy.from_config(inner)
    module = _BACKEND_OPTIMIZERS.sub("keras.optimizers", str(config.get("module") or ""))
    for kind, _, package in _KINDS:
        if module == kind:
            return package.deserialize(config)
    return deserialize_layer(config)


def find_class(config: Mapping[str, Any]) -> Any:
    """The class a configuration names.

    Raises:
        ValueError: if it is neither built in nor registered.
    """
    name, registered = str(config["class_name"]), config.get("registered_name")
    for key in (registered, name):
        if key and key in custom_objects:
            return custom_objects[key]
    for key, value in custom_objects.items():
        if key.rsplit(">", 1)[-1] == name:
            return value
    known = builtin_class(name)
    if known is not None and (not config.get("registered_name") or str(config.get("module", "")).startswith("keras")):
        return known
    raise ValueError(
        f"Could not find class '{name}' (registered as {registered!r}). Only built-in classes and those known to this "
        "process are loaded. Fix: decorate the class with `graphcore.saving.register_keras_serializable()`, or pass "
        f"`custom_objects={{'{name}': {name}}}`."
    )


def deserialize_layer(config: Mapping[str, Any]) -> Any:
    """A layer or model from its data; built for the shapes it was built for, but not compiled."""
    cls = find_class(config)
    layer = cls.from_config(_plain_config(config["config"]))
    build_config = config.get("build_config")
    if build_config and isinstance(layer, Layer) and not layer.built:
        layer.build_from_config(_tuples(_deserialize(build_config)))
    return layer


def _plain_config(config: Any) -> Any:
    """A configuration for `from_config`: nested objects stay data, which every `from_config` understands."""
    if isinstance(config, dict):
        name = config.get("class_name")
        if isinstance(name, str) and name.startswith("__") and name != "__keras_tensor__":
            return _deserialize(config)
        return {key: _plain_config(value) for key, value in config.items()}
    return [_plain_config(item) for item in config] if isinstance(config, list) else config


def _tuples(shapes: Any) -> Any:
    """Lists of sizes as tuples."""
    if isinstance(shapes, dict):
        return {key: _tuples(value) for key, value in shapes.items()}
    if isinstance(shapes, (list, tuple)):
        if all(item is None or isinstance(item, int) for item in shapes):
            return tuple(shapes)
        return [_tuples(item) for item in shapes]
    return shapes
